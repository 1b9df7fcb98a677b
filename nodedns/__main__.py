"""python -m nodedns"""

import sys

from nodedns.cli import main

if __name__ == "__main__":
    sys.exit(main())
