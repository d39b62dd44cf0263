"""The peer's command line in one process, with a stopwatch around its requests, in its own environment.

python generation_peer.py OUT run …: OUT becomes one JSON object with the CPU seconds of `generate_until`.
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

    generate = HFLM.generate_until

    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        begin = time.process_time()
        try:
            return generate(self, *args, **kwargs)
        finally:
            out.write_text(json.dumps({"cpu": time.process_time() - begin}))

    HFLM.generate_until = timed
    cli_evaluate()


if __name__ == "__main__":
    place = Path(sys.argv.pop(1))
    sys.argv[0] = "lm_eval"
    main(place)
