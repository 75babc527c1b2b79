"""``python -m mst_abm`` is ``mst-abm``."""

from mst_abm.cli import main

if __name__ == "__main__":
    main()
