#!/usr/bin/env python3
"""A schema registry that has one schema, behind TLS and a password: what its clients must cope with.

  registry_stub.py PORT CERTIFICATE-AND-KEY USER:PASSWORD SCHEMA TYPE   prints "ready", serves until it is ended
  registry_stub.py PORT - - SCHEMA TYPE                                 the same in the clear, for everybody
"""

import base64
import http.server
import json
import ssl
import sys

port, certificate, user, schema, kind = sys.argv[1:]
wanted = "Basic " + base64.b64encode(user.encode()).decode()
with open(schema, encoding="utf-8") as f:
    answer = json.dumps({"subject": "s", "id": 7, "version": 1, "schemaType": kind, "schema": f.read()}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = user == "-" or self.headers.get("Authorization") == wanted
        body = answer if known else b'{"error_code":40101,"message":"Unauthorized"}'
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
if certificate != "-":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
