/* SPDX-License-Identifier: BSD-2-Clause */
/* The program that starts.c starts. */
int main(void) { return 0; }
