#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Daemons that answer what they should not. Always: exit 1, one clear line on stderr, no crash, nothing that a terminal obeys.
. "$(dirname "$0")/lib.sh"

refuses() {	# TEXT WORDS...: exit 1 and that text, one line
	local text=$1
	shift
	run "$@"
	[ "$code" = 1 ] || bad "exit code $code"
	says "$text"
	[ "$(wc -l <"$T/err")" = 1 ] || bad "more than a line: $(cat "$T/err")"
	! grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$T/out" "$T/err" || bad 'control characters'
}

# What is no JSON-RPC answer to this call.
i=0
while read -r line; do
	printf '!ping %s\n' "$line"
done <<'END' >"$T/lines"
hello
{"jsonrpc":"2.0","id":@,"result":"pong"
{"jsonrpc":"2.0","id":@}
{"jsonrpc":"1.0","id":@,"result":"pong"}
{"id":@,"result":"pong"}
{"jsonrpc":"2.0","id":77@,"result":"pong"}
{"jsonrpc":"2.0","id":"@","result":"pong"}
{"jsonrpc":"2.0","id":null,"result":"pong"}
{"jsonrpc":"2.0","result":"pong"}
[{"jsonrpc":"2.0","id":@,"result":"pong"}]
null
7
{"jsonrpc":"2.0","id":@,"error":7}
{"jsonrpc":"2.0","id":@,"error":{}}
{"jsonrpc":"2.0","id":@,"error":{"code":"x","message":"y"}}
{"jsonrpc":"2.0","id":@,"result":"pong"} trailing
END
{
	cat "$T/lines"
	printf '!ping {"jsonrpc":"2.0","id":@,"result":"\xff\xfe"}\n'
	# Replies are parsed in pieces of 4096 bytes: one that ends with the first, and more.
	printf '!ping {"jsonrpc":"2.0","id":@,"result":"%s"} trailing\n' "$(printf '%4060s' | tr ' ' x)"
	printf '!ping {"jsonrpc":"2.0","id":@,"result":%s7%s}\n' "$(printf '[%.0s' $(seq 200))" "$(printf ']%.0s' $(seq 200))"
} >"$T/script"
serve <"$T/script"
for i in $(seq "$(wc -l <"$T/script")"); do
	refuses 'what came from' ping
done

# Results of another shape, for every verb.
odd_results() {	# METHOD ARRAY
	printf "$1 %s\n" null 7 '"x"' '[]' '{}' "{\"$2\":7}" "{\"$2\":null}" "{\"$2\":[7]}" "{\"$2\":[null]}" "{\"$2\":[[]]}" "{\"$2\":[{}]}"
}
odd_verb() {	# METHOD ARRAY WORDS...
	local method=$1 array=$2 i
	shift 2
	odd_results "$method" "$array" | serve
	for i in $(seq 11); do
		refuses "unexpected answer from $T/sock" "$@"
	done
}
for format in table json csv ndjson; do
	odd_verb stats pools stats -o $format
	odd_verb dump fragments dump pkg -o $format
	odd_verb leaks suspects leaks shm -o $format
done
odd_verb status pools status
odd_verb summary rows summary shm
odd_verb check pools check
odd_verb failures failures failures
odd_verb track pools track off
odd_verb pool.list pools pool list
odd_verb manager.list managers manager list
odd_verb manager.get pkg manager get
odd_results pool.drop dropped | grep -v '\[null\]' | serve	# null is shown as null
for i in $(seq 10); do
	refuses "unexpected answer from $T/sock" pool drop x
done

# One member of a row is wrong: which one.
row='"pool":"shm:a:1","address":"0x10","size":64,"requested":64,"state":"used","site":null,"owner":null,"age":1,"stamp":1'
while IFS='|' read -r change text; do
	echo "dump {\"fragments\":[{$row}, {$(echo "$row" | sed "$change")}],\"next\":null,\"pause_us\":1}"
done <<'END' >"$T/script"
s/"size":64,//|fragments[1]: `size` is missing
s/"size":64/"size":"64"/|fragments[1]: `size` is of type string, not a whole number
s/"size":64/"size":-64/|fragments[1]: `size` is of type int, not a whole number
s/"size":64/"size":6.4/|fragments[1]: `size` is of type double, not a whole number
s/"age":1/"age":true/|fragments[1]: `age` is of type boolean, not a number
s/"site":null/"site":"main.c"/|fragments[1]: `site` is of type string, not a site
s/"site":null/"site":{"file":7}/|fragments[1]: `site` is of type object, not a site
s/"site":null/"site":{"file":"a","line":-1}/|fragments[1]: `site` is of type object, not a site
s/"owner":null/"owner":99/|fragments[1]: `owner` is of type int, not an owner
s/"owner":null/"owner":{"pid":9,"alive":"no"}/|fragments[1]: `owner` is of type object, not an owner
s/"state":"used"/"state":["used"]/|fragments[1]: `state` is of type array, not a string
END
serve <"$T/script"
while IFS='|' read -r change text; do
	refuses "$text" dump shm
	[ "$(wc -l <"$T/out")" = 2 ] || bad 'the good row is not there'
done <<'END'
|fragments[1]: `size` is missing
|fragments[1]: `size` is of type string, not a whole number
|fragments[1]: `size` is of type int, not a whole number
|fragments[1]: `size` is of type double, not a whole number
|fragments[1]: `age` is of type boolean, not a number
|fragments[1]: `site` is of type string, not a site
|fragments[1]: `site` is of type object, not a site
|fragments[1]: `site` is of type object, not a site
|fragments[1]: `owner` is of type int, not an owner
|fragments[1]: `owner` is of type object, not an owner
|fragments[1]: `state` is of type array, not a string
END

# Pages that never end, or turn into something else.
serve <<END
dump {"fragments":[],"next":"a","pause_us":1}
dump {"fragments":[],"next":"a","pause_us":1}
dump {"fragments":[],"next":7,"pause_us":1}
dump {"fragments":[{$row}],"next":"a","pause_us":1}
~dump
dump {"fragments":[{$row}],"next":"a","pause_us":1}
!dump {"jsonrpc":"2.0","id":@,"error":{"code":-32602,"message":"Invalid params","data":{"param":"cursor","got":"a","allowed":"a fresh one"}}}
END
refuses '`next` does not move on' dump shm
refuses '`next` is no string' dump shm
refuses 'closed the connection before it answered' dump shm
refuses 'dump: Invalid params: cursor is a; allowed: a fresh one (-32602)' dump shm -o json
step='a document that is not whole'
[ "$(tail -c 2 "$T/out")" != '}' ] || bad 'looks whole'

# Strings that would do something to a terminal or a table.
evil='"\u001b[31mred\u0007\n\ttab\u009b2J\u202eltr \"quoted\", comma \u0000nul ümläut"'
serve <<END
pool.list {"pools":[{"pool":"shm:a:1","name":$evil,"manager":"fm","incarnation":1,"state":"live","size":1,"used":1,"users":1,"keep":true,"on_death":"keep","held_back":null}]}
pool.list {"pools":[{"pool":"shm:a:1","name":$evil,"manager":"fm","incarnation":1,"state":"live","size":1,"used":1,"users":1,"keep":true,"on_death":"keep","held_back":null}]}
pool.list {"pools":[{"pool":"shm:a:1","name":$evil,"manager":"fm","incarnation":1,"state":"live","size":1,"used":1,"users":1,"keep":true,"on_death":"keep","held_back":null}]}
pool.list {"pools":[{"pool":"shm:a:1","name":$evil,"manager":"fm","incarnation":1,"state":"live","size":1,"used":1,"users":1,"keep":true,"on_death":"keep","held_back":null}]}
!pool.list {"jsonrpc":"2.0","id":@,"error":{"code":-1,"message":$evil}}
!pool.list {"jsonrpc":"2.0","id":@,"error":{"code":-1,"message":"m","data":{"param":$evil,"got":$evil,"allowed":[$evil,7,null]}}}
!pool.list {"jsonrpc":"2.0","id":@,"error":{"code":-1,"message":"m","data":[$evil]}}
END
run pool list
gives 0 <<'END'
NAME                                                                    POOL     STATE  MANAGER  SIZE  USED  USERS  KEEP  ON DEATH  HELD BACK
\x1b[31mred\x07\n\ttab\x9b2J\u{202e}ltr "quoted", comma \x00nul ümläut  shm:a:1  live   fm          1     1      1  yes   keep      -
END
run pool list -o csv
printf 'name,pool,state,manager,size,used,users,keep,on_death,held_back\n"\033[31mred\007\n\ttab\xc2\x9b2J\xe2\x80\xaeltr ""quoted"", comma \000nul ümläut",shm:a:1,live,fm,1,1,1,true,keep,\n' >"$T/want"
cmp "$T/want" "$T/out" || bad 'CSV is not exact'
NO_COLOR=1 COLUMNS=300 terminal pool list -o csv
! grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2\x9b|\xe2\x80\xae' "$T/out" || bad 'CSV on a terminal has control characters'
NO_COLOR=1 COLUMNS=300 terminal pool list -o json
! grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2\x9b|\xe2\x80\xae' "$T/out" || bad 'JSON on a terminal has control characters'
refuses '\x1b[31mred' pool list
refuses '\x1b[31mred' pool list
refuses 'm' pool list

# A narrow terminal: no line is wrapped, a site keeps its end.
long='{"file":"/home/somebody/src/a/long/path/to/registrar.c","function":"save_contact","line":120,"module":"reg"}'
serve <<END
summary {"rows":[{"key":"k","site":$long,"count":3,"bytes":192,"largest":64,"oldest":3600}],"total":{"count":3,"bytes":192}}
END
NO_COLOR=1 COLUMNS=60 terminal summary pkg
gives 0 <<'END'
BYTES  COUNT  LARGEST  OLDEST  SITE
  192      3       64   1h00m  …registrar.c:120 save_contact
  192      3        -       -  total
END
exit $failed
