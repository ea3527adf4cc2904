"Reads settings.ini, which holds every fact, and calls setup()"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
lib = cfg['lib_name']


def lines(key): return cfg[key].strip().splitlines()


def version():
    text = (here/lib/'__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ *= *['\"](.+?)['\"]", text, re.M)[1]


# The notebooks travel inside the wheel, as the package mlc_course.nbs
packages = [lib, *[f'{lib}.{o}' for o in ('draw','engine','ui','exercises','nbs')]]
folders = [o.name for o in sorted((here/'nbs').glob('[a-z]*')) if list(o.glob('*.ipynb'))]
notebooks = ['*.ipynb', *[f'{o}/*.ipynb' for o in folders]]
notebooks += ['results/*.csv', 'playground/*', 'playground/*/*']

setup(
    name=lib,
    version=version(),
    license=cfg['license'],
    keywords=cfg['keywords'].split(),
    author=cfg['author'],
    author_email=cfg['author_email'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    python_requires=f">={cfg['min_python']}",
    install_requires=lines('requirements'),
    extras_require={'dev': lines('dev_requirements')},
    entry_points={'console_scripts': lines('console_scripts'), 'nbdev': [f'{lib}={lib}._modidx:d']},
    packages=packages,
    package_dir={lib: lib, f'{lib}.nbs': 'nbs'},
    package_data={f'{lib}.nbs': notebooks},
    zip_safe=False)
