// The program that Carillon replaces, written the way socket.io's documentation shows it: a JWT middleware, one room a
// tenant, an HTTP route that broadcasts into it, and the Redis adapter when REDIS_URL is set.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const jwt = require("jsonwebtoken");

const secret = process.env.JWT_SECRET;
const apiKey = process.env.API_KEY;
const redisUrl = process.env.REDIS_URL;
const eventsRoute = /^\/v1\/tenants\/([^/]+)\/events$/;

function authenticate(socket, next) {
  try {
    const claims = jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] });
    socket.data.user = claims.sub;
    socket.data.tenant = claims.tenant_id;
    next();
  } catch {
    next(new Error("Authentication error"));
  }
}

async function readJson(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

async function main() {
  const http = createServer();
  const io = new Server(http, {
    pingInterval: Number(process.env.PING_INTERVAL_MS ?? 25000),
    cors: { origin: process.env.FRONTEND_URL },
  });
  if (redisUrl) {
    const publisher = createClient({ url: redisUrl });
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    io.adapter(createAdapter(publisher, subscriber));
  }

  io.use(authenticate);
  io.on("connection", (socket) => socket.join(`tenant:${socket.data.tenant}`));

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
    if (request.headers.authorization !== `Bearer ${apiKey}`) return answer(401, { error: "unauthorized" });
    try {
      const { event, data } = await readJson(request);
      io.to(`tenant:${route[1]}`).emit(event, data);
      answer(202, { published: 1 });
    } catch {
      answer(400, { error: "malformed body" });
    }
  });
  http.listen(Number(process.env.PORT), "127.0.0.1");
}

main();
