"""The peer's command line in one process, with a stopwatch around its requests, in its own environment.

python generation_peer.py OUT run …: OUT becomes one JSON object with the CPU seconds of `generate_until` and
`loglikelihood` together.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(out: Path) -> None:
    """Run the command line with the model class's requests timed."""
    from lm_eval.__main__ import cli_evaluate  # type: ignore[import-not-found]
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-not-found]

    taken = 0.0

    def timed(requests: Any) -> Any:
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal taken
            begin = time.process_time()
            try:
                return requests(self, *args, **kwargs)
            finally:
                taken += time.process_time() - begin
                out.write_text(json.dumps({"cpu": taken}))

        return run

    HFLM.generate_until = timed(HFLM.generate_until)
    HFLM.loglikelihood = timed(HFLM.loglikelihood)
    cli_evaluate()


if __name__ == "__main__":
    place = Path(sys.argv.pop(1))
    sys.argv[0] = "lm_eval"
    main(place)
