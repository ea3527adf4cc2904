"The command line of a script that measures several things"
import argparse


def run_parts(
    parts, # From the name of each part to the function that measures it
    about, # What `--help` says
    start=None, # Called first; each function gets what it returns
):
    "Run the parts that the command line names, or all"
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument('parts', nargs='*', help=f'some of {" ".join(parts)}; none: all')
    names = parser.parse_args().parts or parts
    args = [start()] if start else []
    for name in names:
        print(name, flush=True)
        parts[name](*args)
