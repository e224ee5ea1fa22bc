// Opens sockets that check what they hear, while they ask for things themselves and stop reading now and then.
// In:  {"open": 1, "url": "...", "token": "...", "options": {}}
// Out: {"socket": 1, "event": "connect", "data": ["websocket"]}, and when the server's event "end" has come:
//      {"socket": 1, "event": "result", "data": [{"transport": "websocket", "first": 0, "heard": 9, ...}]}
'use strict';
const { io } = require('socket.io-client');
const { createHash } = require('crypto');
const readline = require('readline');
const { setTimeout: sleep } = require('timers/promises');

const say = (socket, event, ...data) => process.stdout.write(JSON.stringify({ socket, event, data }) + '\n');
const digest = (text) => createHash('sha256').update(text).digest('hex');

function open(id, url, token, options) {
  const socket = io(url, { auth: { token }, forceNew: true, reconnection: false, ...options });
  const result = { first: null, heard: 0, disordered: 0, altered: 0, answered: 0, wrong: 0, pings: 0, pauses: 0 };
  let [last, ended] = [null, false];

  socket.on('numbered', ({ number, padding, sha256 }) => {
    result.first ??= number;
    result.heard += 1;
    if (last !== null && number !== last + 1) result.disordered += 1;
    if (digest(padding) !== sha256) result.altered += 1;
    last = number;
  });
  socket.on('end', () => (ended = true));
  socket.on('connect_error', (error) => say(id, 'connect_error', error.message));
  socket.on('disconnect', (reason) => say(id, 'disconnect', reason));
  socket.io.on('ping', () => (result.pings += 1));

  async function ask() {
    for (let turn = 0; !ended && socket.connected; turn += 1) {
      const room = `r${turn % 5}`;
      const answer = await socket.emitWithAck(turn % 2 ? 'rt:leave' : 'rt:join', { room });
      result.answered += 1;
      if (!answer.ok || answer.room !== room) result.wrong += 1;
      await sleep(Math.random() * 50);
    }
  }

  async function pause() {
    while (!ended && socket.connected) {
      await sleep(Math.random() * 1000);
      const stream = socket.io.engine.transport.ws?._socket;
      if (!stream) continue;
      stream.pause();
      result.pauses += 1;
      await sleep(Math.random() * 500);
      stream.resume();
    }
  }

  socket.on('connect', async () => {
    say(id, 'connect', socket.io.engine.transport.name);
    await Promise.all([ask(), pause()]);
    say(id, 'result', { transport: socket.io.engine.transport.name, ...result });
  });
}

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line);
    open(command.open, command.url, command.token, command.options);
  })
  .on('close', () => process.exit());
