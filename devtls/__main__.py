"""python -m devtls."""

from devtls.cli import main

if __name__ == "__main__":
    main()
