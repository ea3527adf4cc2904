"Stored notebooks keep an explorer's still picture, not the view of it, which is empty without its kernel"
import sys
from pathlib import Path
from fastcore.nbio import read_nb, write_nb
from mlc_course.ui.course import course_files

VIEW = 'application/vnd.jupyter.widget-view+json'
NBS = Path(__file__).resolve().parent.parent/'nbs'


def keep_stills(nb):
    "Take views, and the widgets' state, out of `nb`; whether there were any. A view without a picture stays"
    outputs = [o for c in nb.cells for o in c.get('outputs', [])]
    data = [o.get('data', {}) for o in outputs]
    shown = [o for o in data if VIEW in o and 'image/png' in o]
    for o in shown: del o[VIEW]
    return bool(nb.metadata.pop('widgets', None) or shown)


def main():
    for path in sys.argv[1:] or course_files(NBS, '.ipynb'):
        nb = read_nb(path)
        if keep_stills(nb): write_nb(nb, path)


if __name__=='__main__': main()
