/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_against BEFORE AFTER: two files of JSON lines of the benchmarks, and what became faster or slower.
 *
 * A line is known by its texts and whole numbers (bench, workload, allocator …), its figures are the members with a
 * median. Faster or slower is said only where the two ranges from least to most do not touch and the medians differ by
 * more than 5 %, which where the linker puts a function can do by itself; the rest is noise, and only counted. Ratios
 * to a peer are compared where there are any: the machine itself changes from run to run.
 */
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned noise;			/* figures that tell nothing */

struct lines { json_object **at; size_t n; };

static struct lines read_lines(const char *path)
{
	struct lines all = { NULL, 0 };
	char *line = NULL;
	size_t bytes = 0;
	FILE *in = fopen(path, "r");

	if (!in) {
		perror(path);
		exit(2);
	}
	while (getline(&line, &bytes, in) != -1) {
		json_object **more = realloc(all.at, (all.n + 1) * sizeof *more), *o = json_tokener_parse(line);

		if (!more)
			abort();
		all.at = more;
		if (json_object_is_type(o, json_type_object))
			all.at[all.n++] = o;
		else
			json_object_put(o);
	}
	free(line);
	fclose(in);
	return all;
}

static bool is_figure(json_object *v)
{
	return json_object_is_type(v, json_type_object) && json_object_object_get_ex(v, "median", NULL);
}

static bool is_name(const char *key, json_object *v)
{
	return json_object_is_type(v, json_type_string) ? strcmp(key, "verdict") && strcmp(key, "error") :
	       json_object_is_type(v, json_type_int);
}

static bool same_line(json_object *a, json_object *b)
{
	json_object_object_foreach(a, key, v) {
		json_object *w;

		if (is_name(key, v) && (!json_object_object_get_ex(b, key, &w) || !json_object_equal(v, w)))
			return false;
	}
	return true;
}

static double part(json_object *figure, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(figure, name, &v) ? json_object_get_double(v) : 0;
}

static void print_name(json_object *line)
{
	json_object_object_foreach(line, key, v)
		if (is_name(key, v))
			printf("%s  ", json_object_get_string(v));
}

/* Returns true when it became slower. All figures are times or sizes: less is better. */
static bool compare(json_object *line, const char *name, json_object *was, json_object *is)
{
	double change = part(is, "median") / part(was, "median");
	bool slower = part(is, "min") > part(was, "max") && change > 1.05;
	bool faster = part(is, "max") < part(was, "min") && change < 0.95;

	if (!slower && !faster) {
		noise++;
		return false;
	}
	printf("%-7s %6.2f  ", slower ? "slower" : "faster", change);
	print_name(line);
	printf("%s: %.4g -> %.4g\n", name, part(was, "median"), part(is, "median"));
	return slower;
}

/* A time whose ratio to a peer stands beside it says less than that ratio. */
static bool has_ratio(json_object *line)
{
	json_object_object_foreach(line, key, v)
		if (!strncmp(key, "to_", 3) && is_figure(v))
			return true;
	return false;
}

static bool compare_line(json_object *was, json_object *is)
{
	bool slower = false, ratios = has_ratio(is) && has_ratio(was);

	json_object_object_foreach(is, key, v) {
		json_object *w;

		if (!is_figure(v) || (ratios && strncmp(key, "to_", 3)))
			continue;
		if (json_object_object_get_ex(was, key, &w) && is_figure(w))
			slower |= compare(is, key, w, v);
	}
	return slower;
}

static void drop(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		json_object_put(l->at[i]);
	free(l->at);
}

int main(int argc, char **argv)
{
	struct lines before, after;
	bool slower = false;

	if (argc != 3) {
		fprintf(stderr, "usage: %s BEFORE AFTER\n", argv[0]);
		return 2;
	}
	before = read_lines(argv[1]);
	after = read_lines(argv[2]);
	for (size_t i = 0; i < after.n; i++)
		for (size_t k = 0; k < before.n; k++)
			if (same_line(after.at[i], before.at[k])) {
				slower |= compare_line(before.at[k], after.at[i]);
				break;
			}
	printf("%u figures: noise\n", noise);
	drop(&before);
	drop(&after);
	return slower;
}
