// The program that Carillon replaces, but for what it listens with: a JWT middleware, one room a tenant, events that are broadcast into it,
// and the Redis adapter when REDIS_URL is set.
"use strict";

const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const jwt = require("jsonwebtoken");

const secret = process.env.JWT_SECRET;
const apiKey = process.env.API_KEY;
const redisUrl = process.env.REDIS_URL;

const port = Number(process.env.PORT);
const options = {
  pingInterval: Number(process.env.PING_INTERVAL_MS ?? 25000),
  cors: { origin: process.env.FRONTEND_URL },
};

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

async function setUp(io) {
  if (redisUrl) {
    const publisher = createClient({ url: redisUrl });
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    io.adapter(createAdapter(publisher, subscriber));
  }
  io.use(authenticate);
  io.on("connection", (socket) => socket.join(`tenant:${socket.data.tenant}`));
}

function authorized(authorization) {
  return authorization === `Bearer ${apiKey}`;
}

// Returns the answer's status and body.
function publish(io, tenant, body) {
  try {
    const { event, data } = JSON.parse(body);
    io.to(`tenant:${tenant}`).emit(event, data);
    return [202, { published: 1 }];
  } catch {
    return [400, { error: "malformed body" }];
  }
}

module.exports = { port, options, setUp, authorized, publish };
