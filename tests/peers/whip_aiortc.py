"""Pushes a film by WHIP with aiortc until it is interrupted; then it deletes its session."""

import argparse
import asyncio
import signal
import ssl
import urllib.parse
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer

ANY_CERTIFICATE = ssl.create_default_context()
ANY_CERTIFICATE.check_hostname = False
ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE


def call(method, url, key, body=None):
    fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, data=body, method=method, headers=fields)
    with urllib.request.urlopen(request, context=ANY_CERTIFICATE, timeout=10) as answer:
        return answer.headers, answer.read().decode()


async def push(arguments):
    connection = RTCPeerConnection()
    player = MediaPlayer(arguments.film, loop=True)
    for track in (player.audio, player.video):
        connection.addTransceiver(track, direction="sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp.encode()
    loop = asyncio.get_running_loop()
    fields, answer = await loop.run_in_executor(None, call, "POST", arguments.url, arguments.key, offer)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, stopped.set)
    await stopped.wait()
    session = urllib.parse.urljoin(arguments.url, fields["Location"])
    await loop.run_in_executor(None, call, "DELETE", session, arguments.key)
    await connection.close()


parser = argparse.ArgumentParser()
for name in ("--url", "--key", "--film"):
    parser.add_argument(name, required=True)
asyncio.run(push(parser.parse_args()))
