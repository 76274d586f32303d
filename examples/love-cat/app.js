"use strict";

const path = require("node:path");
const express = require("express");
const expressWs = require("express-ws");

const app = express();
expressWs(app);

app.use(express.static(path.join(__dirname, "public")));

app.ws("/chat", (socket) => {
  socket.send("Hello, World!");
  socket.on("message", (message) => socket.send(message));
});

const host = process.env.HOST || "127.0.0.1";
const server = app.listen(Number(process.env.PORT || 3000), host, (error) => {
  if (error) throw error;
  const { address, port } = server.address();
  console.log(`love.cat listens on http://${address.includes(":") ? `[${address}]` : address}:${port}`);
});
