"""An application that takes its time to be imported."""

import time

open("entered-start", "w").close()
time.sleep(600)
application = None
