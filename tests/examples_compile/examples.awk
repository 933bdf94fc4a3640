# SPDX-License-Identifier: BSD-2-Clause
# Reads a header, writes a program: each `Example:` of a comment becomes a function, main() calls each in a child.
# An example ends with the comment, at an empty line of it, or where the indentation ends; 0 is what it returns when all is well.
BEGIN {
	print "#include <errno.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/wait.h>\n#include <unistd.h>"
	print "#include <memapi/memapi.h>"
	print "#include <memapi/" name ">\n#include \"context.h\"\n"
}
function finish() {
	if (open)
		print "\treturn 0;\n}\n"
	open = 0
}
/^[ \t]*\*[ \t]*Example:/ {
	finish()
	printf "static int example_%d(void)\n{\n#line %d \"%s\"\n", ++count, NR + 1, name
	open = 1
	next
}
open && /^[ \t]*\*\t/ {
	sub(/^[ \t]*\*/, "")
	sub(/\*\/[ \t]*$/, "")
	print
	next
}
{ finish() }
END {
	finish()
	print "int main(void)\n{"
	print "\tint (*const example[])(void) = {"
	for (i = 1; i <= count; i++)
		printf "\t\texample_%d,\n", i
	print "\t\tNULL };\n\tint status, bad = 0;\n"
	print "\tfor (int i = 0; example[i]; i++) {"
	print "\t\tif (fork() == 0)\n\t\t\texit(example[i]());"
	printf "\t\tif (wait(&status) == -1 || status)\n\t\t\tbad = printf(\"example %%d of %s: status %%#x\\n\", i + 1, (unsigned)status);\n", name
	print "\t}\n\treturn bad != 0;\n}"
}
