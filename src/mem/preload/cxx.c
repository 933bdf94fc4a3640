/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C++'s allocation operators, in C: libstdc++'s would call our malloc() too, but then each call site were operator new.
 *
 * As the standard has it, a form calls a simpler one that the program may have replaced: [] and nothrow the plain one,
 * sized deletes the unsized one. `bound` is what the loader made of a simple form's name; while that is ours, all end
 * here. When there is no memory the next library's operator of the same name is called, and knows what to do: it asks
 * the new_handler, and throws. So this library needs no C++ library, and a C program loads none. Exceptions pass
 * through (-fexceptions).
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/preload/preload.h"

#define CALLER __builtin_return_address(0)
/* An operator by its mangled name; size_t and std::align_val_t are unsigned long, a std::nothrow_t is an address. */
#define OPERATOR(result, id, symbol, ...) \
	__attribute__((visibility("default"))) result id(__VA_ARGS__) __asm__(symbol); \
	result id(__VA_ARGS__)
/* What the name of a simple form leads to, and what it leads to when nobody replaced it. */
#define SIMPLE(result, id, symbol, ...) \
	extern result own_##id(__VA_ARGS__) __attribute__((alias(symbol), visibility("hidden"))); \
	static result (*const volatile bound_##id)(__VA_ARGS__) = id; \
	static result (*const volatile ours_##id)(__VA_ARGS__) = own_##id;
#define REPLACED(id) UNLIKELY(bound_##id != ours_##id)

typedef void *new_fn(size_t size);
typedef void *new_aligned_fn(size_t size, size_t align);
typedef void *new_nothrow_fn(size_t size, const void *nothrow);
typedef void *new_aligned_nothrow_fn(size_t size, size_t align, const void *nothrow);

/* A plugin's C++ library may be seen by the plugin alone. */
COLD static void *next(const char *symbol)
{
	static const char text[] = "memapi: no C++ library to throw std::bad_alloc with\n";
	void *fn = dlsym(RTLD_NEXT, symbol), *library;

	if (!fn && (library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD)))
		fn = dlsym(library, symbol);
	if (!fn) {
		if (write(STDERR_FILENO, text, sizeof text - 1) == -1) {
			/* there is nobody left to tell */
		}
		abort();
	}
	return fn;
}

/* ---- new ---- */

OPERATOR(void *, new, "_Znwm", size_t size)
{
	void *p = preload_malloc(size, CALLER);

	return LIKELY(p) ? p : ((new_fn *)next("_Znwm"))(size);
}
SIMPLE(void *, new, "_Znwm", size_t size)

OPERATOR(void *, new_aligned, "_ZnwmSt11align_val_t", size_t size, size_t align)
{
	void *p = preload_memalign(align, size, CALLER);

	return LIKELY(p) ? p : ((new_aligned_fn *)next("_ZnwmSt11align_val_t"))(size, align);
}
SIMPLE(void *, new_aligned, "_ZnwmSt11align_val_t", size_t size, size_t align)

OPERATOR(void *, new_array, "_Znam", size_t size)
{
	void *p = REPLACED(new) ? bound_new(size) : preload_malloc(size, CALLER);

	return LIKELY(p) ? p : ((new_fn *)next("_Znam"))(size);
}
SIMPLE(void *, new_array, "_Znam", size_t size)

OPERATOR(void *, new_array_aligned, "_ZnamSt11align_val_t", size_t size, size_t align)
{
	void *p = REPLACED(new_aligned) ? bound_new_aligned(size, align) : preload_memalign(align, size, CALLER);

	return LIKELY(p) ? p : ((new_aligned_fn *)next("_ZnamSt11align_val_t"))(size, align);
}
SIMPLE(void *, new_array_aligned, "_ZnamSt11align_val_t", size_t size, size_t align)

OPERATOR(void *, new_nothrow, "_ZnwmRKSt9nothrow_t", size_t size, const void *nothrow)
{
	void *p = REPLACED(new) ? NULL : preload_malloc(size, CALLER);

	return LIKELY(p) ? p : ((new_nothrow_fn *)next("_ZnwmRKSt9nothrow_t"))(size, nothrow);
}

OPERATOR(void *, new_array_nothrow, "_ZnamRKSt9nothrow_t", size_t size, const void *nothrow)
{
	void *p = REPLACED(new) || REPLACED(new_array) ? NULL : preload_malloc(size, CALLER);

	return LIKELY(p) ? p : ((new_nothrow_fn *)next("_ZnamRKSt9nothrow_t"))(size, nothrow);
}

OPERATOR(void *, new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t", size_t size, size_t align,
	 const void *nothrow)
{
	void *p = REPLACED(new_aligned) ? NULL : preload_memalign(align, size, CALLER);

	return LIKELY(p) ? p : ((new_aligned_nothrow_fn *)next("_ZnwmSt11align_val_tRKSt9nothrow_t"))(size, align, nothrow);
}

OPERATOR(void *, new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", size_t size, size_t align,
	 const void *nothrow)
{
	void *p = REPLACED(new_aligned) || REPLACED(new_array_aligned) ? NULL : preload_memalign(align, size, CALLER);

	return LIKELY(p) ? p : ((new_aligned_nothrow_fn *)next("_ZnamSt11align_val_tRKSt9nothrow_t"))(size, align, nothrow);
}

/* ---- delete ---- */

OPERATOR(void, delete, "_ZdlPv", void *p) { preload_free(p, CALLER); }
SIMPLE(void, delete, "_ZdlPv", void *p)

OPERATOR(void, delete_aligned, "_ZdlPvSt11align_val_t", void *p, size_t align)
{
	(void)align;
	preload_free(p, CALLER);
}
SIMPLE(void, delete_aligned, "_ZdlPvSt11align_val_t", void *p, size_t align)

OPERATOR(void, delete_array, "_ZdaPv", void *p)
{
	if (REPLACED(delete))
		bound_delete(p);
	else
		preload_free(p, CALLER);
}
SIMPLE(void, delete_array, "_ZdaPv", void *p)

OPERATOR(void, delete_array_aligned, "_ZdaPvSt11align_val_t", void *p, size_t align)
{
	if (REPLACED(delete_aligned))
		bound_delete_aligned(p, align);
	else
		preload_free(p, CALLER);
}
SIMPLE(void, delete_array_aligned, "_ZdaPvSt11align_val_t", void *p, size_t align)

/* Those that say more than they need to: they call a simpler one, and that one the simplest. */
#define DELETE_MORE(id, symbol, simple, simplest, ...) \
	OPERATOR(void, id, symbol, void *p, __VA_ARGS__) \
	{ \
		(void)more; \
		if (REPLACED(simple) || REPLACED(simplest)) \
			bound_##simple(p); \
		else \
			preload_free(p, CALLER); \
	}
#define DELETE_MORE_ALIGNED(id, symbol, simple, simplest, ...) \
	OPERATOR(void, id, symbol, void *p, __VA_ARGS__) \
	{ \
		(void)more; \
		if (REPLACED(simple) || REPLACED(simplest)) \
			bound_##simple(p, align); \
		else \
			preload_free(p, CALLER); \
	}

DELETE_MORE(delete_sized, "_ZdlPvm", delete, delete, size_t more)
DELETE_MORE(delete_nothrow, "_ZdlPvRKSt9nothrow_t", delete, delete, const void *more)
DELETE_MORE(delete_array_sized, "_ZdaPvm", delete_array, delete, size_t more)
DELETE_MORE(delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", delete_array, delete, const void *more)
DELETE_MORE_ALIGNED(delete_aligned_sized, "_ZdlPvmSt11align_val_t", delete_aligned, delete_aligned, size_t more,
		    size_t align)
DELETE_MORE_ALIGNED(delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", delete_aligned, delete_aligned,
		    size_t align, const void *more)
DELETE_MORE_ALIGNED(delete_array_aligned_sized, "_ZdaPvmSt11align_val_t", delete_array_aligned, delete_aligned,
		    size_t more, size_t align)
DELETE_MORE_ALIGNED(delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t", delete_array_aligned,
		    delete_aligned, size_t align, const void *more)
