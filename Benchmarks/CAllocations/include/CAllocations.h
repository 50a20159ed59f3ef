#ifndef CALLOCATIONS_H
#define CALLOCATIONS_H

/// How often this thread has asked for memory since it began; -1 where that is not counted.
///
/// Counts what goes through malloc, calloc, realloc and the aligned ones, whoever calls them: Swift's runtime, Foundation,
/// BoringSSL. Memory that is given back does not change it.
long cygnet_allocations(void);

#endif
