"""The same as tests/node/client.js, with python-socketio."""

import json
import sys
import threading

import socketio

# Beyond what any story waits. The library's own second passes on a busy machine, and then it closes the socket, even one whose "connect" it tells
# at that moment, without telling "disconnect".
WAIT_TIMEOUT_SECONDS = 60

sockets = {}
printing = threading.Lock()


def say(socket, event, *data):
    with printing:
        print(json.dumps({"socket": socket, "event": event, "data": data}), flush=True)


def open_socket(number, url, token, options):
    client = socketio.Client(reconnection=False)
    sockets[number] = client
    client.on("connect", lambda: say(number, "connect", client.transport()))
    client.on("connect_error", lambda error=None: say(number, "connect_error", error["message"] if isinstance(error, dict) else error))
    client.on("disconnect", lambda reason=None: say(number, "disconnect", reason))
    client.on("*", lambda event, *data: say(number, event, *data))
    try:
        client.connect(url, auth=None if token is None else {"token": token}, wait_timeout=WAIT_TIMEOUT_SECONDS, **options)
    except socketio.exceptions.ConnectionError:
        pass  # already told by connect_error


def act(number, command):
    client = sockets[number]
    if "call" in command:
        getattr(client, command["call"])()
    elif "ack" in command:
        client.emit(*command["emit"], callback=lambda *data: say(number, f"ack:{command['ack']}", *data))
    else:
        client.emit(*command["emit"])


for line in sys.stdin:
    command = json.loads(line)
    if "open" in command:
        arguments = command["open"], command["url"], command.get("token"), command["options"]
        threading.Thread(target=open_socket, args=arguments, daemon=True).start()
    else:
        act(command["socket"], command)
