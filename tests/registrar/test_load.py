# SPDX-License-Identifier: BSD-2-Clause
"""sipp against the registrar: every scenario, then a short load.

    test_load.py REGISTRAR SCENARIOS [RATE]
"""
import glob
import os
import subprocess
import sys

from sip import Registrar, wait_for

EXPIRES = 120


def sipp(registrar, scenario, calls, rate, *options):
    """Runs a scenario; every call must succeed."""
    p = subprocess.run(["sipp", f"127.0.0.1:{registrar.port}", "-sf", scenario, "-m", str(calls), "-r", str(rate), "-l", "200",
                        "-i", "127.0.0.1", "-nostdin", "-key", "user", os.path.basename(scenario)[:-4], "-key", "expires",
                        str(EXPIRES), "-timeout", "60", "-timeout_error", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, cwd=registrar.directory, errors="replace", timeout=90)
    print(("ok      " if p.returncode == 0 else "NOT OK  ") + f"{os.path.basename(scenario)} {calls} calls", flush=True)
    if p.returncode:
        print(p.stdout[-2000:], p.stderr[-2000:])
        sys.exit(1)


def main():
    program, scenarios = map(os.path.abspath, sys.argv[1:3])
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    with Registrar(program, "--workers", "2", "--sweep", "100") as registrar:
        phones = os.path.join(scenarios, "phones.xml")          # takes its users from a file
        with open(os.path.join(registrar.directory, "phones.csv"), "w") as f:
            f.write("SEQUENTIAL\n" + "".join(f"phone{i}\n" for i in range(20)))
        sipp(registrar, phones, 50, 200, "-inf", "phones.csv")
        for scenario in sorted(set(glob.glob(os.path.join(scenarios, "*.xml"))) - {phones}):
            sipp(registrar, scenario, 50, 200)
        sipp(registrar, os.path.join(scenarios, "refresh.xml"), 3 * rate, rate)
        client = registrar.client()
        wait_for(lambda: client.options().count("records") >= 3 * rate, 10)
        client.close()
        complaints = registrar.complaints()
        if complaints:
            sys.exit(f"the registrar complained: {complaints}")


if __name__ == "__main__":
    main()
