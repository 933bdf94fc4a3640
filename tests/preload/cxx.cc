// SPDX-License-Identifier: BSD-2-Clause
// Every form of new and delete; what happens when there is no memory; a program that replaces the plain forms.
#include <cstddef>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "heap.h"

#ifdef REPLACE
// The standard lets a program replace these alone: every other form must come here.
static unsigned news, deletes;
static size_t most;

void *operator new(size_t size)
{
	news++;
	most = size > most ? size : most;
	if (size > 1ul << 40)
		throw std::bad_alloc();
	char *p = static_cast<char *>(malloc(size + 16));	// its own head: another's free would not do
	return p + 16;
}

void operator delete(void *p) noexcept
{
	if (!p)
		return;
	deletes++;
	free(static_cast<char *>(p) - 16);
}
void operator delete(void *p, size_t) noexcept { operator delete(p); }
#endif

struct alignas(128) Wide { char c[200]; ~Wide() { c[0] = 1; } };
struct Narrow { long l[5]; ~Narrow() { l[0] = 1; } };

#ifndef REPLACE
static unsigned asked;
static void give_up()
{
	if (++asked == 3)
		std::set_new_handler(nullptr);
}
#endif

template <class T> static void objects()
{
	T *volatile one = new T, *volatile quiet = new (std::nothrow) T;
	T *volatile many = new T[7], *volatile quiet_many = new (std::nothrow) T[7];

	CHECK(on_heap(one) && on_heap(many) && on_heap(quiet) && on_heap(quiet_many));
	CHECK(reinterpret_cast<uintptr_t>(one) % alignof(T) == 0 && reinterpret_cast<uintptr_t>(quiet) % alignof(T) == 0);
	CHECK(reinterpret_cast<uintptr_t>(many) % alignof(T) == 0);
	delete one, delete quiet;
	delete[] many, delete[] quiet_many;
}

static void by_name()
{
	const std::align_val_t wide{256};

	for (size_t n = 0; n < 5000; n = n * 3 + 1) {
		operator delete(operator new(n));
		operator delete(operator new(n), n);
		operator delete(operator new(n, std::nothrow), std::nothrow);
		operator delete[](operator new[](n));
		operator delete[](operator new[](n), n);
		operator delete[](operator new[](n, std::nothrow), std::nothrow);
		operator delete(operator new(n, wide), wide);
		operator delete(operator new(n, wide), n, wide);
		operator delete(operator new(n, wide, std::nothrow), wide, std::nothrow);
		operator delete[](operator new[](n, wide), wide);
		operator delete[](operator new[](n, wide), n, wide);
		void *p = operator new[](n, wide, std::nothrow);
		CHECK(on_heap(p) && reinterpret_cast<uintptr_t>(p) % 256 == 0);
		operator delete[](p, wide, std::nothrow);
	}
}

template <class F> static bool throws(F f)
{
	try {
		return f() == nullptr && false;
	} catch (const std::bad_alloc &) {
		return true;
	}
}

static void no_memory()
{
	const std::align_val_t wide{256};
	volatile size_t huge = static_cast<size_t>(1) << 46;

	CHECK(throws([&] { return operator new(huge); }));
	CHECK(throws([&] { return operator new[](huge); }));
	CHECK(throws([&] { return operator new(huge, wide); }));
	CHECK(throws([&] { return operator new[](huge, wide); }));
	CHECK(operator new(huge, std::nothrow) == nullptr && operator new[](huge, std::nothrow) == nullptr);
	CHECK(operator new(huge, wide, std::nothrow) == nullptr && operator new[](huge, wide, std::nothrow) == nullptr);
	char *volatile kept = nullptr;
	CHECK(throws([&] { return static_cast<void *>(kept = new char[huge]); }));
#ifndef REPLACE
	std::set_new_handler(give_up);
	CHECK(throws([&] { return operator new(huge); }) && asked == 3);
	asked = 0;
	std::set_new_handler(give_up);
	CHECK(operator new[](huge, std::nothrow) == nullptr && asked == 3);
#endif
}

static void library()
{
	std::map<std::string, std::vector<int>> m;

	for (int i = 0; i < 2000; i++)
		m[std::string(static_cast<size_t>(i % 50), 'x') + std::to_string(i)].resize(static_cast<size_t>(i));
	CHECK(m.size() == 2000 && on_heap(&*m.begin()));
	for (int i = 0; i < 2000; i += 2)
		m.erase(std::string(static_cast<size_t>(i % 50), 'x') + std::to_string(i));
	CHECK(m.size() == 1000);
}

int main()
{
	objects<Narrow>();
	objects<Wide>();
	by_name();
	library();
	no_memory();
#ifdef REPLACE
	unsigned n = news, d = deletes;
	char *volatile p = new char[100];
	delete[] p;
	p = new (std::nothrow) char[100];
	operator delete[](p, std::nothrow);
	CHECK(news == n + 2 && deletes == d + 2);
#endif
	return faults;
}
