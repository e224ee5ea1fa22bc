// The same program on uWebSockets.js, which is on npm only as a copy that others made, with binaries for Node.js 16 to 20.
"use strict";

const { App } = require("@trufflesuite/uws-js-unofficial");
const { Server } = require("socket.io");
const { STATUS_CODES } = require("node:http");
const { port, options, setUp, authorized, publish } = require("./application");

async function main() {
  // Without a binary for this Node.js the package would quietly be a slow imitation.
  require(`@trufflesuite/uws-js-unofficial/dist/uws_linux_x64_${process.versions.modules}.node`);
  const app = App();
  const io = new Server(options);
  io.attachApp(app);
  await setUp(io);

  app.post("/v1/tenants/:tenant/events", (response, request) => {
    const answer = (status, body) =>
      response.cork(() =>
        response
          .writeStatus(`${status} ${STATUS_CODES[status]}`)
          .writeHeader("content-type", "application/json")
          .end(JSON.stringify(body)),
      );
    const tenant = request.getParameter(0);
    if (!authorized(request.getHeader("authorization"))) return answer(401, { error: "unauthorized" });
    const chunks = [];
    response.onAborted(() => {});
    response.onData((chunk, isLast) => {
      // The chunk is only lent for the time of this call.
      chunks.push(Buffer.from(Buffer.from(chunk)));
      if (isLast) answer(...publish(io, tenant, Buffer.concat(chunks).toString()));
    });
  });
  app.listen("127.0.0.1", port, (listening) => {
    if (!listening) process.exit(1);
  });
}

main();
