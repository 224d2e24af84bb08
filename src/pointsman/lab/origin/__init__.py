"""The origin: answers HTTP/1.1, HTTP/2 cleartext, WebSocket, gRPC and plain TCP with what it saw of the caller."""
