"""``python -m flowml`` is the command ``flowml``."""

from flowml.cli.app import main

if __name__ == "__main__":
    main()
