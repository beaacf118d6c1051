// ws on Node: echo, and files. Arguments: port, folder.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { WebSocketServer } = require("ws");

const [port, folder] = process.argv.slice(2);

const server = http.createServer((request, response) => {
  const file = path.join(folder, path.basename(request.url));
  fs.stat(file, (error, status) => {
    if (error) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Length": status.size });
    fs.createReadStream(file).pipe(response);
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 2 ** 21 });

server.keepAliveTimeout = 60000;
sockets.on("connection", (socket) => {
  socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
