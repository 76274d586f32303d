"""Small programs, one for each language, that ask for pages over TLS as most programs in it would.

Each takes HOST PORT PATH triples. It goes to 127.0.0.1, verifies the certificate for HOST with the roots that the
language trusts by itself, sends the request, waits for the end of the answer, and goes on to the next triple.
"""

PYTHON = """
import socket, ssl, sys
words = sys.argv[1:]
for host, port, path in zip(words[::3], words[1::3], words[2::3]):
    try:
        raw = socket.create_connection(("127.0.0.1", int(port)), 10)
        with ssl.create_default_context().wrap_socket(raw, server_hostname=host) as way:
            way.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
            while way.recv(4096):
                pass
    except OSError as error:
        print(error, file=sys.stderr)
"""

# Of node:tls alone, so that Bun runs it too. An address is no server name; it is verified as the host.
NODE = """
const tls = require('node:tls');
const words = process.argv.slice(WORDS_FROM);
for (let i = 0; i < words.length; i += 3) {
  const [name, port, path] = words.slice(i, i + 3);
  const isAddress = /^[0-9.]+$/.test(name);
  const way = tls.connect({ host: '127.0.0.1', port: Number(port), ...(isAddress ? {} : { servername: name }) }, () => {
    if (way.authorized) way.write(`GET ${path} HTTP/1.0\\r\\n\\r\\n`);
    else { console.error(way.authorizationError); way.destroy(); }
  });
  way.on('data', () => {});
  way.on('error', (error) => console.error(error.message));
}
"""

DENO = """
for (let i = 0; i < Deno.args.length; i += 3) {
  const [hostname, port, path] = Deno.args.slice(i, i + 3);
  try {
    const way = await Deno.startTls(await Deno.connect({ hostname: "127.0.0.1", port: Number(port) }), { hostname });
    await way.write(new TextEncoder().encode(`GET ${path} HTTP/1.0\\r\\n\\r\\n`));
    while (await way.read(new Uint8Array(4096)) !== null);
    way.close();
  } catch (error) {
    console.error(error.message);
  }
}
"""

RUBY = """
require 'socket'
require 'openssl'
ARGV.each_slice(3) do |host, port, path|
  context = OpenSSL::SSL::SSLContext.new
  context.set_params
  way = OpenSSL::SSL::SSLSocket.new(TCPSocket.new('127.0.0.1', port.to_i), context)
  way.hostname = host unless host.match?(/\\A[0-9.]+\\z/)
  way.connect
  way.post_connection_check(host)
  way.write("GET #{path} HTTP/1.0\\r\\n\\r\\n")
  way.read
rescue SystemCallError, OpenSSL::SSL::SSLError => error
  warn error.message
end
"""

PHP = """
for ($i = 1; $i + 2 < $argc; $i += 3) {
  $context = stream_context_create(["ssl" => ["peer_name" => $argv[$i]]]);
  $port = $argv[$i + 1];
  $way = @stream_socket_client("ssl://127.0.0.1:$port", $code, $said, 10, STREAM_CLIENT_CONNECT, $context);
  if (!$way) { fwrite(STDERR, "$said\\n"); continue; }
  fwrite($way, "GET {$argv[$i + 2]} HTTP/1.0\\r\\n\\r\\n");
  stream_get_contents($way);
}
"""

JAVA = """
import java.net.Socket;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

class Ask {
    public static void main(String[] words) throws Exception {
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        for (int i = 0; i + 2 < words.length; i += 3) {
            try (Socket raw = new Socket("127.0.0.1", Integer.parseInt(words[i + 1]));
                 SSLSocket way = (SSLSocket) factory.createSocket(raw, words[i], raw.getPort(), true)) {
                var parameters = way.getSSLParameters();
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                if (!words[i].matches("[0-9.]+")) {
                    parameters.setServerNames(java.util.List.of(new SNIHostName(words[i])));
                }
                way.setSSLParameters(parameters);
                way.getOutputStream().write(("GET " + words[i + 2] + " HTTP/1.0\\r\\n\\r\\n").getBytes());
                way.getInputStream().readAllBytes();
            } catch (java.io.IOException error) {
                System.err.println(error.getMessage());
            }
        }
    }
}
"""

# Firefox asks through a proxy, so that no name need resolve, and speaks to nobody else.
FIREFOX = """
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.search.update", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.dns.disablePrefetch", true);
user_pref("network.lna.enabled", false);
user_pref("network.prefetch-next", false);
user_pref("network.proxy.allow_hijacking_localhost", true);
user_pref("network.proxy.no_proxies_on", "");
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", PORT);
user_pref("network.proxy.type", 1);
user_pref("security.ssl.enable_ocsp_stapling", false);
user_pref("services.settings.server", "");
user_pref("toolkit.telemetry.enabled", false);
"""
