"""Running the services: from a pure state machine to processes, their output, and the guardian of them all."""
