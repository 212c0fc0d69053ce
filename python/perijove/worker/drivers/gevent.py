"""gevent's WSGI server: one process, a greenlet for each request."""

from __future__ import annotations

import signal
import sys

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
from gevent import pywsgi, socket  # noqa: E402
from gevent.event import Event  # noqa: E402

from perijove.worker.behind import Counted, behind  # noqa: E402
from perijove.worker.process import CONFIG, Order, wsgi_or_show  # noqa: E402

#: Requests at once, as gunicorn's gevent workers take them.
_AT_ONCE = 1000


def run(order: Order) -> int:
    application = wsgi_or_show(order)
    if application is None:
        return CONFIG
    listener = socket.socket(fileno=order.socket)
    counting = Counted(behind(application, _AT_ONCE))
    # The gateway has the access log.
    server = pywsgi.WSGIServer(listener, counting.serve, log=None, error_log=sys.stderr)
    ending = Event()
    gevent.signal_handler(signal.SIGTERM, ending.set)
    # Ctrl-C reaches the whole foreground; the program ends its workers itself.
    gevent.signal_handler(signal.SIGINT, lambda: None)
    server.start()
    ending.wait()
    # What is under way is finished; connections that are only kept are not waited for.
    server.close()
    while counting.under_way:
        gevent.sleep(0.02)
    return 0
