#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What a result looks like in each form, verb by verb; exit 10; a terminal.
. "$(dirname "$0")/lib.sh"

status='{"schema":1,"version":"0.1.0","build":{"dbg":false,"compiler":"gcc 12.2.0","commit":"abc1234"},"daemon":{"pid":4711,"uptime":123.4,"socket":"/run/mmd/mmd.sock","config":null},"managers":{"pkg":{"now":"fm","next":"fm","from":"default"},"shm":{"now":"qm","next":"tlsf","from":"choice"}},"pools":[{"pool":"shm:default:1","domain":"shm","name":"default","pid":4711,"command":"mmd","manager":"qm","shards":4,"incarnation":1,"state":"live","held_back":"keep = yes"},{"pool":"pkg:99:1","domain":"pkg","name":null,"pid":99,"command":"registrar","manager":"fm","incarnation":1,"state":"crashed","held_back":null}],"skipped":[{"file":"/dev/shm/mmd-0/noise","reason":"truncated: 12 bytes"}]}'
serve <<END
status $status
status $status
status $status
END
run status
gives 0 <<'END'
daemon   mmd 0.1.0, pid 4711, up 2m03s
socket   /run/mmd/mmd.sock
config   -
build    gcc 12.2.0, commit abc1234

DOMAIN  NOW  AFTER RESTART  FROM
pkg     fm   fm             default
shm     qm   tlsf           choice

POOL           STATE    MANAGER   PID  COMMAND    HELD BACK
shm:default:1  live     qm       4711  mmd        keep = yes
pkg:99:1       crashed  fm         99  registrar  -

SKIPPED FILE          REASON
/dev/shm/mmd-0/noise  truncated: 12 bytes
END
says nothing
run -o csv status
gives 0 <<'END'
pool,domain,name,state,manager,pid,command,incarnation,held_back,shards,users,dead,reaped,takeovers,rollbacks,lock_pid,lock_held
shm:default:1,shm,default,live,qm,4711,mmd,1,keep = yes,4,,,,,,,
pkg:99:1,pkg,,crashed,fm,99,registrar,1,,,,,,,,,
END
run -o json status
gives 0 <<END
$status
END

rows='"costs":[{"mode":"libc","ns":10,"ratio":1},{"mode":"off","ns":7.4,"ratio":0.74},{"mode":"no magazines","ns":80,"ratio":8}],"skipped"'
costs=${status/'"skipped"'/$rows}
serve <<END
status $costs
END
run status
says nothing
grep -qx 'costs    libc 10 ns, off 7 ns (0.74), no magazines 80 ns (8.00)' "$T/out" || bad "no costs: $(cat "$T/out")"

serve <<END
status ${status/'"skipped"'/'"unread":"Too many open files","skipped"'}
END
run status
says 'mmd cannot read the registry: Too many open files; pools may be missing'

dead='{"schema":1,"version":"0.1.0","build":{},"daemon":{"pid":1,"uptime":1,"socket":"s","config":null},"managers":{"pkg":{"now":"fm","next":"fm","from":"default"},"shm":{"now":"fm","next":"fm","from":"default"}},"pools":[{"pool":"shm:a:1","domain":"shm","name":"a","pid":1,"command":"mmd","manager":"fm","shards":1,"incarnation":1,"state":"live","held_back":null,"users":3,"dead":1,"reaped":7,"takeovers":5,"rollbacks":4,"lock":{"pid":77,"turn":9,"held":12.5}},{"pool":"shm:b:1","domain":"shm","name":"b","pid":1,"command":"mmd","manager":"fm","shards":1,"incarnation":1,"state":"live","held_back":null,"users":3,"dead":0,"reaped":0,"takeovers":0,"rollbacks":0,"lock":null}],"skipped":[]}'
serve <<END
status $dead
status $dead
END
run status
gives 0 <<'END'
daemon   mmd 0.1.0, pid 1, up 1s
socket   s
config   -
build    -, commit -

DOMAIN  NOW  AFTER RESTART  FROM
pkg     fm   fm             default
shm     fm   fm             default

POOL     STATE  MANAGER  PID  COMMAND  HELD BACK
shm:a:1  live   fm         1  mmd      -
shm:b:1  live   fm         1  mmd      -

OWNERS OF  USERS  DEAD  REAPED  TAKEOVERS  ROLLBACKS  LOCK PID  HELD
shm:a:1        3     1       7          5          4        77  12.5
END
run -o csv status
gives 0 <<'END'
pool,domain,name,state,manager,pid,command,incarnation,held_back,shards,users,dead,reaped,takeovers,rollbacks,lock_pid,lock_held
shm:a:1,shm,a,live,fm,1,mmd,1,,1,3,1,7,5,4,77,12.5
shm:b:1,shm,b,live,fm,1,mmd,1,,1,3,0,0,0,0,,
END

stats='{"pools":[{"pool":"pkg:99:1","domain":"pkg","name":null,"pid":99,"command":"registrar","manager":"fm","state":"live","size":68719476736,"used":1048576,"real_used":1053000,"max_used":18446744073709551615,"free":0,"cached":512,"fragments":12345,"free_fragments":2,"largest_free":null,"failures":0,"untracked":3,"tracking":"off"}],"total":{"size":null,"used":1048576,"real_used":1053000,"max_used":null,"free":0,"cached":512,"fragments":12345,"free_fragments":2,"largest_free":null,"failures":0,"untracked":3}}'
serve <<END
stats $stats
stats $stats
stats $stats
stats $stats
stats $stats
stats $stats
END
run stats pkg
gives 0 <<'END'
POOL      COMMAND    MANAGER  STATE     USED  REAL USED              MAX USED  FREE  CACHED  FRAGMENTS  LARGEST FREE  FAILURES  TRACKING
pkg:99:1  registrar  fm       live   1048576    1053000  18446744073709551615     0     512      12345             -         0  off
total     -          -        -      1048576    1053000                     -     0     512      12345             -         0  -
END
run stats -o csv
gives 0 <<'END'
pool,domain,name,pid,command,manager,state,size,used,real_used,max_used,free,cached,fragments,free_fragments,largest_free,failures,untracked,tracking,shards
pkg:99:1,pkg,,99,registrar,fm,live,68719476736,1048576,1053000,18446744073709551615,0,512,12345,2,,0,3,off,
END
run stats -o ndjson
gives 0 <<END
$(echo "$stats" | sed 's/^{"pools":\[//; s/\],"total".*//')
END
COLUMNS=200 NO_COLOR=1 terminal stats
gives 0 <<'END'
POOL      COMMAND    MANAGER  STATE  USED  REAL USED  MAX USED  FREE  CACHED  FRAGMENTS  LARGEST FREE  FAILURES  TRACKING
pkg:99:1  registrar  fm       live   1.0M       1.0M     16.0E     0     512      12345             -         0  off
total     -          -        -      1.0M       1.0M         -     0     512      12345             -         0  -
END
COLUMNS=80 NO_COLOR=1 terminal stats
gives 0 <<'END'
                                           REAL    MAX                   LARGEST
POOL      COMMAND    MANAGER  STATE  USED  USED   USED  FREE  FRAGMENTS     FREE
pkg:99:1  registrar  fm       live   1.0M  1.0M  16.0E     0      12345        -
total     -          -        -      1.0M  1.0M      -     0      12345        -
mmctl: the terminal is too narrow for CACHED, FAILURES, TRACKING
END
COLUMNS=200 terminal stats
grep -q "^$(printf '\033')\[1mPOOL" "$T/out" || bad 'no bold head on a terminal'
sent <<'END'
stats {"domain":"pkg"}
stats {}
stats {}
stats {}
stats {}
stats {}
END

# dump: three pages become one table, one document, one stream.
frag() {	# ADDRESS SIZE SITE OWNER
	echo '{"pool":"shm:a:1","address":"'$1'","size":'$2',"requested":'$2',"state":"used","site":'$3',"owner":'$4',"age":12.5,"stamp":7}'
}
site='{"file":"src/main.c","function":"save","line":120,"module":"reg"}'
owner='{"pid":99,"command":"registrar","alive":true}'
dead='{"pid":98,"command":"/usr/sbin/registrar","alive":false}'
f1=$(frag 0x350000001000 64 "$site" "$owner")
f2=$(frag 0x350000002000 128 null null)
f3=$(frag 0x350000003000 4096 '{"file":null,"function":"load","line":null,"module":"lib.so"}' "$dead")
pages() {
	for _ in $(seq "$1"); do
		echo 'dump {"fragments":['"$f1"'],"next":"c1","pause_us":10}'
		echo 'dump {"fragments":[],"next":"c2","pause_us":30}'
		echo 'dump {"fragments":['"$f2,$f3"'],"next":null,"pause_us":20}'
	done
}
pages 4 | serve
run dump shm
gives 0 <<'END'
POOL     ADDRESS         SIZE  REQUESTED  STATE   AGE  OWNER                SITE
shm:a:1  0x350000001000    64         64  used   12.5  99 registrar         src/main.c:120 save
shm:a:1  0x350000002000   128        128  used   12.5  -                    -
shm:a:1  0x350000003000  4096       4096  used   12.5  98 registrar (dead)  load lib.so
END
run dump shm -o csv
gives 0 <<'END'
pool,address,size,requested,weight,state,age,stamp,owner_pid,owner_command,owner_alive,file,line,function,module
shm:a:1,0x350000001000,64,64,,used,12.5,7,99,registrar,true,src/main.c,120,save,reg
shm:a:1,0x350000002000,128,128,,used,12.5,7,,,,,,,
shm:a:1,0x350000003000,4096,4096,,used,12.5,7,98,/usr/sbin/registrar,false,,,load,lib.so
END
run dump shm -o ndjson
gives 0 <<END
$f1
$f2
$f3
END
run dump shm -o json
gives 0 <<END
{"fragments":[
$f1,
$f2,
$f3
],"next":null,"pause_us":30}
END
{ for _ in 1 2 3 4; do printf '%s\n' 'dump {"domain":"shm","limit":1000}' \
	'dump {"domain":"shm","limit":1000,"cursor":"c1"}' 'dump {"domain":"shm","limit":1000,"cursor":"c2"}'; done; } | sent

# -n ends it, and tells where to go on.
serve <<END
dump {"fragments":[$f1,$f2],"next":"c9","pause_us":1}
END
run dump shm -n 2 -o json
gives 0 <<END
{"fragments":[
$f1,
$f2
],"next":"c9","pause_us":1}
END

# What could not be read is named beside the rest, once.
serve <<END
dump {"fragments":[$f1],"next":"c1","pause_us":1,"errors":[{"pool":"pkg:7:1","reason":"Operation not permitted"}]}
dump {"fragments":[],"next":null,"pause_us":1,"errors":[{"pool":"pkg:7:1","reason":"Operation not permitted"},{"pool":"pkg:8:1","reason":"No such process"}]}
END
run dump shm -o ndjson
gives 0 <<END
$f1
END
[ "$(cat "$T/err")" = 'mmctl: pkg:7:1: Operation not permitted
mmctl: pkg:8:1: No such process' ] || bad "says: $(cat "$T/err")"

# Nothing there.
serve <<END
dump {"fragments":[],"next":null,"pause_us":0}
dump {"fragments":[],"next":null,"pause_us":0}
stats $stats
dump {"fragments":[],"next":null,"pause_us":0}
END
run dump shm
gives 0 <<'END'
POOL  ADDRESS  SIZE  REQUESTED  STATE  AGE  OWNER  SITE
END
says 'mmctl: no such fragment'
run dump pkg --used
says 'no such fragment; some private heaps are not tracked'
run dump shm -o json
gives 0 <<'END'
{"fragments":[],"next":null,"pause_us":0}
END

# leaks: both domains; exit 10.
suspect() { echo '{"evidence":"'$1'","pool":"'$2'","site":'$3',"owner":'$4',"count":3,"bytes":192,"oldest":3600,"rate":'$5',"examples":["0x350000001000"]'"${6-}"'}'; }
s1=$(suspect owner_dead shm:a:1 "$site" "$dead" null)
s2=$(suspect growing pkg:99:1 "$site" null 12.5 ',"samples":3,"interval":10,"figures":[64,128,150,192]')
serve <<END
leaks {"suspects":[$s2],"next":null}
leaks {"suspects":[$s1],"next":null}
leaks {"suspects":[],"next":null}
leaks {"suspects":[],"next":null}
stats {"pools":[],"total":{}}
leaks {"suspects":[$s1],"next":null}
leaks {"suspects":[$s2],"next":null}
END
run leaks
gives 10 <<'END'
EVIDENCE    POOL      COUNT  BYTES  OLDEST  RATE  OWNER                SITE
growing     pkg:99:1      3    192    3600  12.5  -                    src/main.c:120 save
owner_dead  shm:a:1       3    192    3600     -  98 registrar (dead)  src/main.c:120 save

GROWING   RISES  EVERY  SITE                 BYTES OVER TIME
pkg:99:1      3     10  src/main.c:120 save  64 128 150 192
END
says 'owner_dead is memory whose owner is dead, which may be meant to stay'
run leaks
gives 0 <<'END'
EVIDENCE  POOL  COUNT  BYTES  OLDEST  RATE  OWNER  SITE
END
says 'nothing is suspected'
run leaks shm --evidence owner_dead -o ndjson
gives 10 <<END
$s1
END
run leaks pkg -o csv
gives 10 <<'END'
evidence,pool,count,bytes,oldest,rate,owner_pid,owner_command,owner_alive,file,line,function,module,samples,interval,figures,estimated,sampled
growing,pkg:99:1,3,192,3600,12.5,,,,src/main.c,120,save,reg,3,10,64 128 150 192,,
END
sent <<'END'
leaks {"domain":"pkg","limit":1000}
leaks {"domain":"shm","limit":1000}
leaks {"domain":"pkg","limit":1000}
leaks {"domain":"shm","limit":1000}
stats {"domain":"pkg"}
leaks {"evidence":"owner_dead","domain":"shm","limit":1000}
leaks {"domain":"pkg","limit":1000}
END

# dump --leaks: one dump, however many are suspected.
suspected() { frag "$1" 64 "$site" "$dead" | sed 's/}$/,"evidence":['"$2"']}/'; }
serve <<END
dump {"fragments":[$(suspected 0x350000005000 '"owner_dead"')],"next":"2","pause_us":4}
dump {"fragments":[$(suspected 0x350000006000 '"owner_dead","growing"')],"next":null,"pause_us":3}
dump {"fragments":[],"next":null,"pause_us":4}
END
run dump shm --leaks --min-size 10
gives 10 <<'END'
EVIDENCE             POOL     ADDRESS         SIZE  REQUESTED  STATE   AGE  OWNER                SITE
owner_dead           shm:a:1  0x350000005000    64         64  used   12.5  98 registrar (dead)  src/main.c:120 save
owner_dead, growing  shm:a:1  0x350000006000    64         64  used   12.5  98 registrar (dead)  src/main.c:120 save
END
run dump shm --evidence growing -o json
gives 0 <<'END'
{"fragments":[],"next":null,"pause_us":4}
END
sent <<'END'
dump {"min_size":10,"domain":"shm","evidence":"any","limit":1000}
dump {"min_size":10,"domain":"shm","evidence":"any","limit":1000,"cursor":"2"}
dump {"evidence":"growing","domain":"shm","limit":1000}
END

# check: what differs is shown twice; exit 10.
same='{"used":64,"free":100,"fragments":1,"free_fragments":1,"largest_free":100}'
less='{"used":60,"free":100,"fragments":1,"free_fragments":1,"largest_free":100}'
serve <<END
check {"pools":[{"pool":"shm:a:1","ok":true,"walked":$same,"counted":$same,"errors":[],"error_count":0},{"pool":"shm:b:1","ok":false,"walked":$same,"counted":$less,"errors":[{"address":"0x1000","what":"links lead nowhere"}],"error_count":1}]}
check {"pools":[{"pool":"shm:a:1","ok":true,"walked":$same,"counted":$same,"errors":[]}]}
check {"pools":[{"pool":"pkg:1:1","ok":null,"walked":null,"counted":null,"errors":[{"address":null,"what":"Operation not permitted"}]}]}
check {"pools":[{"pool":"shm:b:1","ok":false,"walked":$same,"counted":$less,"errors":[]}]}
END
run check
gives 10 <<'END'
POOL     RESULT    USED  FRAGMENTS  FREE  FREE FRAGMENTS  LARGEST FREE  ERRORS
shm:a:1  ok          64          1   100               1           100       0
shm:b:1  damaged  64/60          1   100               1           100       1

POOL     ADDRESS  WHAT
shm:b:1  0x1000   links lead nowhere
END
run check shm
[ "$code" = 0 ] || bad "exit code $code"
says nothing
run check pkg
gives 1 <<'END'
POOL     RESULT   USED  FRAGMENTS  FREE  FREE FRAGMENTS  LARGEST FREE  ERRORS
pkg:1:1  unknown     -          -     -               -             -       -

POOL     ADDRESS  WHAT
pkg:1:1  -        Operation not permitted
END
says '1 of 1 pools could not be checked'
run check -o csv
gives 10 <<'END'
pool,ok,walked_used,counted_used,walked_fragments,counted_fragments,walked_free,counted_free,walked_free_fragments,counted_free_fragments,walked_largest_free,counted_largest_free,error_count
shm:b:1,false,64,60,1,1,100,100,1,1,100,100,
END

# The rest.
managers='"pkg":{"now":"fm","next":"qm","from":"choice"},"shm":{"now":"fm","next":"fm","from":"environment"}'
serve <<END
summary {"rows":[{"key":"src/main.c:120","site":$site,"count":3,"bytes":192,"largest":64,"oldest":3600},{"key":"untracked","site":null,"count":1,"bytes":8,"largest":null,"oldest":null}],"total":{"count":4,"bytes":200}}
summary {"rows":[{"key":"reg","site":null,"count":3,"bytes":192,"largest":64,"oldest":null}],"total":{"count":3,"bytes":192}}
summary {"rows":[{"key":"reg","site":null,"count":3,"bytes":192,"largest":64,"oldest":null}],"total":{"count":3,"bytes":192}}
failures {"failures":[{"time":1700000000,"pool":"shm:a:1","pid":99,"site":$site,"requested":4096,"free":8192,"largest_free":2048,"verdict":"fragmented"}]}
failures {"failures":[{"time":1700000000,"pool":"shm:a:1","pid":99,"site":$site,"requested":4096,"free":8192,"largest_free":2048,"verdict":"fragmented"}]}
track {"pools":[{"pool":"pkg:99:1","tracking":"sites"},{"pool":"pkg:98:1","tracking":null,"reason":"No such process"}]}
pool.list {"pools":[{"pool":"shm:a:1","name":"a","manager":"fm","incarnation":1,"state":"live","size":67108864,"used":64,"users":2,"keep":false,"on_death":"keep","held_back":null}]}
pool.drop {"name":"a","dropped":["shm:a:1"]}
pool.release {"name":"a","released":12}
pool.release {"name":"a","released":null}
manager.list {"managers":[{"name":"fm","source":"built in","domains":["pkg","shm"],"capabilities":["aligned","extend"],"advice":"mixed sizes","default":true},{"name":"qm","source":"built in","domains":["pkg","shm"],"capabilities":[],"advice":"debugging","default":false}]}
manager.get {$managers,"held_back":null}
manager.set {$managers,"held_back":"environment: MEMAPI_SHM_MANAGER=fm"}
manager.reset {$managers,"held_back":null}
ping "pong"
stats {"pools":[]}
END
run summary shm
gives 0 <<'END'
BYTES  COUNT  LARGEST  OLDEST  SITE
  192      3       64    3600  src/main.c:120 save
    8      1        -       -  untracked
  200      4        -       -  total
END
run summary shm --by module -o csv -n 5
gives 0 <<'END'
bytes,count,largest,oldest,key,estimated,sampled
192,3,64,,reg,,
END
run summary shm --by module
gives 0 <<'END'
BYTES  COUNT  LARGEST  OLDEST  MODULE
  192      3       64       -  reg
  192      3        -       -  total
END
run failures shm -n 3
gives 0 <<'END'
TIME        POOL     PID  REQUESTED  FREE  LARGEST FREE  VERDICT     SITE
1700000000  shm:a:1   99       4096  8192          2048  fragmented  src/main.c:120 save
END
NO_COLOR=1 COLUMNS=100 terminal failures
gives 0 <<'END'
TIME                 POOL     PID  REQUESTED  FREE  LARGEST FREE  VERDICT     SITE
2023-11-14 22:13:20  shm:a:1   99       4.0K  8.0K          2.0K  fragmented  src/main.c:120 save
END
run track on pkg --pid 99
gives 0 <<'END'
POOL      TRACKING
pkg:99:1  sites
pkg:98:1  -
END
says 'pkg:98:1: No such process'
run pool list
gives 0 <<'END'
NAME  POOL     STATE  MANAGER      SIZE  USED  USERS  KEEP  ON DEATH  HELD BACK
a     shm:a:1  live   fm       67108864    64      2  no    keep      -
END
run pool drop a
gives 0 <<'END'
DROPPED
shm:a:1
END
run pool release a --pid 99
gives 0 <<'END'
POOL  RELEASED
a           12
END
run pool release a
gives 0 <<'END'
POOL  RELEASED
a            -
END
run manager list
gives 0 <<'END'
NAME  DEFAULT  DOMAINS   SOURCE    CAPABILITIES     ADVICE
fm    *        pkg, shm  built in  aligned, extend  mixed sizes
qm             pkg, shm  built in  -                debugging
END
run manager get pkg
gives 0 <<'END'
DOMAIN  NOW  AFTER RESTART  FROM
pkg     fm   qm             choice
END
run manager set qm pkg
gives 0 <<'END'
DOMAIN  NOW  AFTER RESTART  FROM
pkg     fm   qm             choice
shm     fm   fm             environment
END
says 'held back: environment: MEMAPI_SHM_MANAGER=fm'
run manager reset --domain shm -o ndjson
gives 0 <<'END'
{"domain":"pkg","now":"fm","next":"qm","from":"choice"}
{"domain":"shm","now":"fm","next":"fm","from":"environment"}
END
run ping -o json
gives 0 <<'END'
"pong"
END
run call stats '{"domain":"shm"}'
gives 0 <<'END'
{"pools":[]}
END
sent <<'END'
summary {"domain":"shm","limit":10000}
summary {"by":"module","domain":"shm","limit":5}
summary {"by":"module","domain":"shm","limit":10000}
failures {"domain":"shm","limit":3}
failures {}
track {"pid":99,"mode":"sites","domain":"pkg"}
pool.list {}
pool.drop {"name":"a"}
pool.release {"pid":99,"name":"a"}
pool.release {"name":"a"}
manager.list {}
manager.get {}
manager.set {"name":"qm","domain":"pkg"}
manager.reset {"domain":"shm"}
ping null
stats {"domain":"shm"}
END

# Nothing there is no bad news.
serve <<END
failures {"failures":[]}
pool.list {"pools":[]}
summary {"rows":[],"total":{"count":0,"bytes":0}}
stats {"pools":[],"total":{}}
failures {"failures":[]}
END
run failures
says 'no allocation has failed'
run pool list
says 'mmd hosts no shared pool'
run summary shm
says 'nothing is in use there'
run stats
says 'there is no such pool'
run failures -o csv
says nothing

# restart: it says yes, ends the connection, and somebody younger answers.
serve <<END
status $status
=restart {"restarting":true,"pid":4711}
status $(echo "$status" | sed 's/123.4/0.25/; s/"now":"qm"/"now":"tlsf"/')
END
run -t 5 restart
gives 0 <<'END'
MMD   PID     UP  PKG  SHM
old  4711  123.4  fm   qm
new  4711   0.25  fm   tlsf
END

# It says yes, but never comes back.
serve <<END
status $status
=restart {"restarting":true,"pid":4711}
~status
END
run -t 0.3 restart
gives 5 </dev/null
says 'restart: mmd said yes, but does not answer'

# Nothing of this fails unseen.
serve <<END
stats $stats
END
step='a full disk'
"$MMCTL" -s "$T/sock" stats >/dev/full 2>"$T/err"
code=$?
: >"$T/out"
gives 1 </dev/null
says 'cannot write: No space left on device'
exit $failed
