"""`python -m fakescan.cli` is `fakescan`."""

from fakescan.cli.main import main

if __name__ == "__main__":
    main()
