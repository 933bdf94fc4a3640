#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The generated completion, as bash would call it: a line with the cursor at its end, then what is offered.
. "$(dirname "$0")/lib.sh"
. "$COMPLETION"

mmctl() { "$MMCTL" "$@"; }

offers() {	# LINE WORDS: exactly these, in any order
	local got
	step="completion of '$1'"
	COMP_LINE=$1 COMP_POINT=${#1}
	COMPREPLY=()
	_mmctl
	got=$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)
	[ "$got" = "$(printf '%s\n' $2 | sort | xargs)" ] || bad "offers: $got"
}

offers 'mmctl sta' 'stats status'
offers 'mmctl ma' 'manager'
offers 'mmctl run --tr' '--track'
offers 'mmctl run --track s' 'sampled sites stacks'
offers 'mmctl run mmc' 'mmctl'
offers "mmctl run ls $T/no" ''
offers 'mmctl manager ' 'get list reset set'
offers 'mmctl manager re' 'reset'
offers 'mmctl dump ' 'pkg shm'
offers 'mmctl dump p' 'pkg'
offers 'mmctl dump pkg ' ''
offers 'mmctl dump pkg --le' '--leaks'
offers 'mmctl dump --le' '--leaks'
offers 'mmctl stats --le' ''
offers 'mmctl stats -' '-s -t -o -h -V --pid --pool --socket --timeout --output --help --version'
offers 'mmctl -o ' 'table json csv ndjson'
offers 'mmctl stats --output=c' 'csv'
offers 'mmctl summary shm --by m' 'module'
offers 'mmctl -o json summary shm --by ' 'site module size owner'
offers 'mmctl track o' 'off on'
offers 'mmctl track on ' 'pkg shm'
offers 'mmctl call manager.' 'manager.get manager.list manager.reset manager.set'
offers 'mmctl help po' 'pool'
offers 'mmctl help pool ' 'list drop release'

# What only the daemon knows, on the socket that the line names.
serve <<'END'
manager.list {"managers":[{"name":"fm","source":"built in","domains":["pkg"],"capabilities":[],"advice":"","default":true},{"name":"qm","source":"built in","domains":["pkg"],"capabilities":[],"advice":"","default":false}]}
status {"pools":[{"pool":"shm:a:1","domain":"shm","name":"a","pid":7,"command":"x","manager":"fm","incarnation":1,"state":"live","held_back":null},{"pool":"pkg:7:1","domain":"pkg","name":null,"pid":7,"command":"x","manager":"fm","incarnation":1,"state":"live","held_back":null}],"skipped":[]}
status {"pools":[{"pool":"shm:a:1","domain":"shm","name":"a","pid":7,"command":"x","manager":"fm","incarnation":1,"state":"live","held_back":null}],"skipped":[]}
END
offers "mmctl -s $T/sock manager set " 'fm qm'
offers "mmctl -s $T/sock dump shm --pool shm:" 'a:1'
offers "mmctl -s $T/sock dump shm --owner " '7'
serve <<END
status {"pools":[{"pool":"shm:\$(touch $T/owned):1","domain":"shm","name":"a","pid":7,"command":"x","manager":"fm","incarnation":1,"state":"live","held_back":null}],"skipped":[]}
END
offers "mmctl -s $T/sock dump shm --pool " ''
[ ! -e "$T/owned" ] || bad 'a name was executed'
stop
rm -f "$T/sock"
offers "mmctl -s $T/sock manager set " ''
exit $failed
