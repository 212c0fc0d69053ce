"""What happens to perijove while people work, each fault as often as time lets it, in an order
that follows from the seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from served import PATIENCE, Served, kill
from user import Seen, User


class Faults:
    def __init__(self, served: Served, users: list[User], seed: int, seen: Seen) -> None:
        self.served, self.users, self.seen = served, users, seen
        self.random = random.Random(seed)
        self.count: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], bool]] = {
            "perijove was killed": self.kill,
            "perijove was restarted": self.restart,
            "perijove was upgraded": self.upgrade,
            "the site was reloaded": self.reload,
            "its disk was full": self.fill_disk,
            "a kernel ran out of memory": self.starve,
            "a notebook server was killed": self.kill_server,
            "a guardian was killed": self.kill_guardian,
            "the zygote was killed": self.kill_zygote,
            "the site's workers were killed": self.kill_workers,
        }

    def run(self, seconds: float, least: int) -> None:
        """Faults for so long, and for as long as one of them has not been there often enough."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds or min(self._counts()) < least:
            if time.monotonic() - begun > 4 * seconds + PATIENCE:
                self.seen.complain(f"there was no time for {least} of each: {self.count}")
                return
            deck = list(self.kinds)
            self.random.shuffle(deck)
            for kind in deck:
                if time.monotonic() - begun > seconds and self.count[kind] >= least:
                    continue
                self.happen(kind)

    def _counts(self) -> list[int]:
        return [self.count[kind] for kind in self.kinds]

    def happen(self, kind: str) -> None:
        begun = time.monotonic()
        try:
            is_done = self.kinds[kind]()
        except Exception as error:
            self.seen.complain(f"when {kind}: {error}")
            return
        self.count[kind] += is_done
        print(f"{kind}{'' if is_done else ' (not)'}: {time.monotonic() - begun:.1f} s", flush=True)
        time.sleep(self.random.uniform(0, 0.5))

    # --- perijove

    def kill(self) -> bool:
        self.served.kill_and_start()
        return True

    def restart(self) -> bool:
        self.served.restart()
        return True

    def upgrade(self) -> bool:
        self.served.upgrade()
        return True

    def reload(self) -> bool:
        self.served.reload()
        return True

    def fill_disk(self) -> bool:
        before = self.seen.refused_saves
        with self.served.full_disk():
            deadline = time.monotonic() + self.random.uniform(1, 2)
            # Until somebody has felt it.
            while self.seen.refused_saves == before or time.monotonic() < deadline:
                if time.monotonic() > deadline + PATIENCE:
                    return False
                time.sleep(0.02)
        return True

    # --- notebooks and workers

    def starve(self) -> bool:
        user = self.random.choice(self.users)
        dead = user.deaths()
        user.hungry.set()
        deadline = time.monotonic() + PATIENCE
        while user.hungry.is_set():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return user.deaths() > dead

    def kill_server(self) -> bool:
        user = self.random.choice(self.users)
        server = self.served.server_of(user.name)
        return server is not None and user.kill(lambda: kill(server))

    def kill_guardian(self) -> bool:
        user = self.random.choice(self.users)
        guardian = self.served.notebooks().get(user.name, {}).get("pid")
        return guardian is not None and user.kill(lambda: kill(guardian))

    def kill_zygote(self) -> bool:
        # It takes a while until there is one again.
        deadline = time.monotonic() + self.random.uniform(5, 20)
        while not self.served.kill_zygote():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def kill_workers(self) -> bool:
        self.served.kill_workers()
        return True
