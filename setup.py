"Reads settings.ini, which holds every fact, and calls setup()"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_namespace_packages, find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
lib = cfg['lib_name']


def text(name): return (here/name).read_text(encoding='utf-8')
def lines(key): return cfg[key].strip().splitlines()


version = re.search(r"^__version__ *= *['\"](.+?)['\"]", text(f'{lib}/__init__.py'), re.M)[1]
extras = {k.removesuffix('_requirements'): lines(k) for k in cfg if k.endswith('_requirements')}
# Whoever works on the package needs what the extras need
extras['dev'] = sorted({line for wanted in extras.values() for line in wanted})
packages = [lib, *[f'{lib}.{name}' for name in find_packages(here/lib)]]
# The notebooks travel inside the wheel, with tables and playground
notebooks = [f'{lib}.nbs', *[f'{lib}.nbs.{name}' for name in find_namespace_packages(here/'nbs')]]

setup(
    version=version,
    description=cfg['description'],
    long_description=text('README.md'),
    long_description_content_type='text/markdown',
    license=cfg['license'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    keywords=cfg['keywords'].split(),
    classifiers=lines('classifiers'),
    install_requires=lines('requirements'),
    extras_require=extras,
    entry_points={'console_scripts': lines('console_scripts'), 'nbdev': [f'{lib}={lib}._modidx:d']},
    packages=packages+notebooks,
    package_dir={lib: lib, f'{lib}.nbs': 'nbs'},
    package_data={name: ['*'] for name in notebooks},
    zip_safe=False)
