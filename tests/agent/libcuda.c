/* A stand-in for the driver's library, as wide as the check uses it. Its faults come from the environment:
   FAKE_GPUS (how many), FAKE_INIT (what cuInit returns), FAKE_BAD (the GPU whose memory is wrong),
   FAKE_REFUSES (the GPU whose context cannot be made). */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

static int current = -1;
static unsigned *memory = NULL;

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

int cuInit(unsigned flags) { return flags ? 1 : number("FAKE_INIT", 0); }
int cuDeviceGetCount(int *count) { *count = number("FAKE_GPUS", 1); return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Fake GPU %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = (size_t)80 << 30; (void)device; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device == number("FAKE_REFUSES", -1)) return 802;
    *context = (void *)(size_t)(device + 1);
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return 0; }
int cuCtxSetCurrent(void *context) { current = (int)(size_t)context - 1; return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuMemAlloc_v2(unsigned long long *place, size_t size) {
    memory = malloc(size);
    *place = (unsigned long long)(size_t)memory;
    return memory ? 0 : 2;
}
int cuMemsetD32_v2(unsigned long long place, unsigned value, size_t count) {
    for (size_t i = 0; i < count; i++) ((unsigned *)(size_t)place)[i] = value;
    if (current == number("FAKE_BAD", -1)) ((unsigned *)(size_t)place)[7] = 0;
    return 0;
}
int cuMemcpyDtoH_v2(void *to, unsigned long long place, size_t size) { memcpy(to, (void *)(size_t)place, size); return 0; }
int cuMemFree_v2(unsigned long long place) { free((void *)(size_t)place); return 0; }
int cuGetErrorString(int code, const char **text) {
    if (code != 802) return 1;
    *text = "system not yet initialized";
    return 0;
}
