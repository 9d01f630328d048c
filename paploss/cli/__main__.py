"""The program `paploss`, also as `python -m paploss.cli`."""

import sys


def main() -> None:
    """Run it; where the command line's own packages are absent, say which extra has them."""
    try:
        from paploss.cli.main import run  # noqa: PLC0415 (to tell what is absent)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("paploss", ""):
            raise
        sys.exit(
            f"paploss: the command line needs {error.name}, which is not installed here: pip install 'paploss[client]'"
        )
    run()


if __name__ == "__main__":
    main()
