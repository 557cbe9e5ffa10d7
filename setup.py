"""Packaging of hactrl. Ryu 4.34 builds only with an older setuptools: see constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

README = Path(__file__).with_name("README.md")

LAB = [
    "matplotlib>=3.8",
    "mininet==2.3.0.dev6",
    "topohub>=1.5",
]
TEST = [
    "hypothesis>=6.100",
    "import-linter>=2.17",
    "mypy>=1.11",
    "os-ken>=4.2",
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
]

setup(
    name="hactrl",
    version="0.1.0",
    description="Keeps application servers available on ordinary OpenFlow switches",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="hactrl contributors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: Apache Software License",
        "Natural Language :: English",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Email",
        "Topic :: System :: Clustering",
        "Topic :: System :: Networking",
        "Typing :: Typed",
    ],
    keywords="openflow sdn ryu failover high-availability mail",
    # An explicit root makes an editable install one .pth line, so that a new package is found.
    package_dir={"": "."},
    packages=find_packages(include=["topology*", "flows*", "hactrl*", "mininet_lab*"]),
    include_package_data=True,
    package_data={name: ["py.typed"] for name in ("topology", "flows", "hactrl", "mininet_lab")},
    install_requires=[
        "ryu==4.34",
        "eventlet>=0.40",
        "networkx>=3.2",
        "WebOb>=1.8.9",  # brings the module `cgi`, which it imports and Python 3.13 dropped
        "ruamel.yaml>=0.18",
        "pydantic>=2.6",
        "typer>=0.12",
        "rich>=13.7",
        "httpx>=0.27",
        "prometheus_client>=0.20",
    ],
    extras_require={"lab": LAB, "test": [*TEST, *LAB]},
    entry_points={
        "console_scripts": [
            "ryu-manager=hactrl.shell.launcher:main",
            "hactl=hactrl.cli:main",
            "hactrl-agent=hactrl.agent.main:main",
            "hactrl-prober=hactrl.health.prober:main",
        ],
    },
)
