# CHAT_SERVER=tcp:localhost:5555 twistd -ny echo_bot.tac
import os
import sys

from twisted.application.service import Application
from twisted.internet import reactor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from echo_bot import make_bot

application = Application("echo bot")
make_bot(reactor, os.environ["CHAT_SERVER"]).setServiceParent(application)
