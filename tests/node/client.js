// Opens the sockets it is told to, in the way of the program Carillon is made for, and tells what happens to them.
// In:  {"open": 1, "url": "...", "token": "...", "options": {}}
//      {"socket": 1, "emit": ["event", data], "ack": 7}      ack is optional
//      {"socket": 1, "call": "disconnect"}                    or "connect", "drop": the transport is closed under the client
// Out: {"socket": 1, "event": "record:created", "data": [...]}
'use strict';
const { io } = require('socket.io-client');
const readline = require('readline');

const sockets = new Map();
const say = (socket, event, ...data) => process.stdout.write(JSON.stringify({ socket, event, data }) + '\n');

function open(id, url, token, options) {
  const socket = token === undefined ? io(url, { forceNew: true, ...options }) : io(url, { auth: { token }, forceNew: true, ...options });
  sockets.set(id, socket);

  socket.on('connect', () => say(id, 'connect', socket.io.engine.transport.name));
  socket.on('connect_error', (error) => say(id, 'connect_error', error.message));
  socket.on('disconnect', (reason) => say(id, 'disconnect', reason));
  socket.on('record:created', (data) => say(id, 'record:created', data));
  socket.on('dashboard:update', (data) => say(id, 'dashboard:update', data));
  socket.on('user:status', (data) => say(id, 'user:status', data));

  const known = ['record:created', 'dashboard:update', 'user:status'];
  socket.onAny((event, ...data) => known.includes(event) || say(id, event, ...data));
  socket.io.on('open', () => {
    say(id, 'open', socket.io.engine.transport.name);
    socket.io.engine.on('upgrade', (transport) => say(id, 'upgrade', transport.name));
  });
}

function act(id, { emit, ack, call }) {
  const socket = sockets.get(id);
  if (call === 'drop') return socket.io.engine.close();
  if (call) return socket[call]();
  if (ack === undefined) return socket.emit(...emit);
  socket.emit(...emit, (answer) => say(id, `ack:${ack}`, answer));
}

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line);
    if (command.open !== undefined) open(command.open, command.url, command.token, command.options);
    else act(command.socket, command);
  })
  .on('close', () => process.exit());
