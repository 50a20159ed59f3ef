#pragma once

#include <stddef.h>
#include <stdint.h>

/// libFuzzer's way in for programs that have their own `main`. The library itself comes with
/// `-sanitize=fuzzer`.
int LLVMFuzzerRunDriver(
    int *argc, char ***argv, int (*test)(const uint8_t *data, size_t size));
