// The program that Carillon replaces, on Node's own HTTP server, the way socket.io's documentation shows it.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { port, options, setUp, authorized, publish } = require("./application");

const eventsRoute = /^\/v1\/tenants\/([^/]+)\/events$/;

async function readText(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function main() {
  const http = createServer();
  const io = new Server(http, options);
  await setUp(io);

  // socket.io answers what is under its own path and leaves the rest to this listener.
  http.on("request", async (request, response) => {
    if (request.url.startsWith("/socket.io/")) return;
    const answer = (status, body) => {
      response.statusCode = status;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(body));
    };
    const route = eventsRoute.exec(request.url);
    if (request.method !== "POST" || !route) return answer(404, { error: "not found" });
    if (!authorized(request.headers.authorization)) return answer(401, { error: "unauthorized" });
    answer(...publish(io, route[1], await readText(request)));
  });
  http.listen(port, "127.0.0.1");
}

main();
