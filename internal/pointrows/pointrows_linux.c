// The aggregate function point_rows(step, time, value) of every connection: its rows as 24 bytes
// each, in their order.

#include <math.h>
#include <stdint.h>

// SQLite's, which the driver compiles; weak, since cgo links this package alone to look at it.
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef void function(sqlite3_context *, int, sqlite3_value **);

#pragma weak sqlite3_auto_extension
#pragma weak sqlite3_create_function_v2
#pragma weak sqlite3_aggregate_context
#pragma weak sqlite3_value_type
#pragma weak sqlite3_value_int64
#pragma weak sqlite3_value_double
#pragma weak sqlite3_result_blob64
#pragma weak sqlite3_result_error_nomem
#pragma weak sqlite3_realloc64
#pragma weak sqlite3_free

int sqlite3_auto_extension(void (*)(void));
int sqlite3_create_function_v2(sqlite3 *, const char *, int, int, void *, function *, function *, void (*)(sqlite3_context *), void (*)(void *));
void *sqlite3_aggregate_context(sqlite3_context *, int);
int sqlite3_value_type(sqlite3_value *);
int64_t sqlite3_value_int64(sqlite3_value *);
double sqlite3_value_double(sqlite3_value *);
void sqlite3_result_blob64(sqlite3_context *, const void *, uint64_t, void (*)(void *));
void sqlite3_result_error_nomem(sqlite3_context *);
void *sqlite3_realloc64(void *, uint64_t);
void sqlite3_free(void *);

enum { UTF8 = 1, INNOCUOUS = 0x200000, IS_NULL = 5 };

typedef struct {
	int64_t step, time;
	double value; // NaN: NULL
} row;

typedef struct {
	row *rows;
	uint64_t n, room;
	int failed;
} state;

static void step(sqlite3_context *ctx, int n, sqlite3_value **args) {
	(void)n; // 3
	state *s = sqlite3_aggregate_context(ctx, sizeof *s);
	if (!s || s->failed)
		return;
	if (s->n == s->room) {
		uint64_t room = s->room ? 2 * s->room : 1024;
		row *more = sqlite3_realloc64(s->rows, room * sizeof *more);
		if (!more) {
			s->failed = 1;
			return;
		}
		s->rows = more;
		s->room = room;
	}
	row *r = &s->rows[s->n++];
	r->step = sqlite3_value_int64(args[0]);
	r->time = sqlite3_value_int64(args[1]);
	r->value = sqlite3_value_type(args[2]) == IS_NULL ? NAN : sqlite3_value_double(args[2]);
}

static void final(sqlite3_context *ctx) {
	state *s = sqlite3_aggregate_context(ctx, 0);
	if (!s)
		return; // no rows: NULL
	if (s->failed) {
		sqlite3_free(s->rows);
		sqlite3_result_error_nomem(ctx);
		return;
	}
	sqlite3_result_blob64(ctx, s->rows, s->n * sizeof *s->rows, sqlite3_free);
}

static int add(sqlite3 *db, char **error, const void *api) {
	(void)error;
	(void)api;
	return sqlite3_create_function_v2(db, "point_rows", 3, UTF8 | INNOCUOUS, 0, 0, step, final, 0);
}

int ddpmlab_register_point_rows(void) { return sqlite3_auto_extension((void (*)(void))add); }
