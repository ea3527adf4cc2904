"Reads settings.ini, which holds every fact, and calls setup()"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
lines = lambda key: cfg[key].strip().splitlines()
lib = cfg['lib_name']
version = re.search(r"^__version__ *= *['\"](.+?)['\"]", (here/lib/'__init__.py').read_text(encoding='utf-8'), re.M)[1]

setup(
    name=lib, version=version, license=cfg['license'], keywords=cfg['keywords'].split(),
    author=cfg['author'], author_email=cfg['author_email'], description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    python_requires=f">={cfg['min_python']}", install_requires=lines('requirements'),
    extras_require={'dev': lines('dev_requirements')},
    entry_points={'console_scripts': lines('console_scripts'), 'nbdev': [f'{lib}={lib}._modidx:d']},
    packages=[lib, f'{lib}.exercises', f'{lib}.nbs'], package_dir={lib: lib, f'{lib}.nbs': 'nbs'}, # the notebooks travel inside the wheel
    package_data={f'{lib}.nbs': ['*.ipynb', 'solutions/*.ipynb', 'results/*.csv', 'playground/*', 'playground/*/*']},
    zip_safe=False)
