/* A stand-in for NVIDIA's libnvidia-ml.so.1, for tests on machines without a GPU.
 *
 * What it answers is invented; how it answers follows the public documentation of the API. The file named by
 * NVML_STUB is read at every call, one instruction per line:
 *
 *   count N                  GPUs of the machine (2 without this line)
 *   mig GPU N                this GPU is partitioned into N instances
 *   hang FUNCTION            this function never returns
 *   abort FUNCTION           this function kills the process
 *   error FUNCTION CODE GPU  this function fails for this GPU (-1: for all)
 *   field NUMBER CODE        this field value is refused
 *   process PID BYTES GPU    a process computes on this GPU
 *   xid SEQUENCE CODE GPU    the driver reports an error; each sequence number once
 *
 * Each call is appended to the file named by NVML_STUB_LOG, one name per line, and "hanging" when it hangs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GPUS 16
#define INSTANCES 7
#define SUCCESS 0
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define INVALID_ARGUMENT 2
#define UNINITIALIZED 1
#define TIMEOUT 10
#define GIB (1024ULL * 1024 * 1024)

typedef struct {
    int gpu;
    int instance; /* -1: the whole GPU */
} device_t;

typedef struct {
    unsigned int pid;
    unsigned long long memory;
    unsigned int gpu_instance, compute_instance;
} process_t;

typedef struct {
    unsigned int number, scope;
    long long timestamp, latency;
    unsigned int type, result;
    union {
        double real;
        unsigned int whole;
        unsigned long long large;
    } value;
} field_t;

typedef struct {
    device_t *device;
    unsigned long long type, data;
    unsigned int gpu_instance, compute_instance;
} event_t;

static device_t devices[GPUS], instances[GPUS][INSTANCES];
static int initialised, registered[GPUS], last_xid, events;

/* The value of an instruction that starts with `words`, or `otherwise`. */
static int told(const char *words, int otherwise) {
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    int value = otherwise;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, words, strlen(words)))
            sscanf(line + strlen(words), "%d", &value);
    if (file)
        fclose(file);
    return value;
}


static void note(const char *words) {
    const char *path = getenv("NVML_STUB_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", words);
        fclose(file);
    }
}

static int enter(const char *function, int gpu) {
    const char *path = getenv("NVML_STUB");
    char line[256], words[128];
    int code = SUCCESS;
    note(function);
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) {
        int found, on;
        if (sscanf(line, "hang %127s", words) == 1 && !strcmp(words, function))
            for (note("hanging");;)
                pause();
        if (sscanf(line, "abort %127s", words) == 1 && !strcmp(words, function))
            abort();
        if (sscanf(line, "error %127s %d %d", words, &found, &on) == 3 && !strcmp(words, function) &&
            (on < 0 || on == gpu))
            code = found;
    }
    if (file)
        fclose(file);
    return code;
}

#define ENTER(gpu)                                                                                                     \
    do {                                                                                                               \
        int code = enter(__func__, gpu);                                                                               \
        if (code)                                                                                                      \
            return code;                                                                                               \
        if (!initialised)                                                                                              \
            return UNINITIALIZED;                                                                                      \
    } while (0)
#define ONLY_WHOLE(device)                                                                                             \
    if ((device)->instance >= 0)                                                                                       \
    return NOT_SUPPORTED

static int partitions(int gpu) {
    char words[32];
    snprintf(words, sizeof words, "mig %d ", gpu);
    return told(words, 0);
}

int nvmlInitWithFlags(unsigned int flags) {
    int code = enter(__func__, -1);
    if (code)
        return code;
    initialised++;
    for (int gpu = 0; gpu < GPUS; gpu++) {
        devices[gpu] = (device_t){gpu, -1};
        for (int place = 0; place < INSTANCES; place++)
            instances[gpu][place] = (device_t){gpu, place};
    }
    return SUCCESS;
}

int nvmlShutdown(void) {
    ENTER(-1);
    initialised--;
    memset(registered, 0, sizeof registered);
    return SUCCESS;
}

const char *nvmlErrorString(int code) { return code == 999 ? "Unknown Error" : "stub error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
    ENTER(-1);
    snprintf(text, size, "999.99.stub");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    ENTER(-1);
    *count = told("count ", 2);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device_t **device) {
    ENTER((int)index);
    if ((int)index >= told("count ", 2))
        return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(device_t *device, char *text, unsigned int size) {
    ENTER(device->gpu);
    if (device->instance < 0)
        snprintf(text, size, "GPU-stub-%d", device->gpu);
    else
        snprintf(text, size, "MIG-stub-%d-%d", device->gpu, device->instance);
    return SUCCESS;
}

int nvmlDeviceGetName(device_t *device, char *text, unsigned int size) {
    ENTER(device->gpu);
    snprintf(text, size, "Stub %d00", device->gpu + 1);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(device_t *device, unsigned int rates[2]) {
    ENTER(device->gpu);
    ONLY_WHOLE(device);
    rates[0] = 40 + device->gpu;
    rates[1] = 20 + device->gpu;
    return SUCCESS;
}

int nvmlDeviceGetEncoderUtilization(device_t *device, unsigned int *share, unsigned int *period) {
    ENTER(device->gpu);
    *share = 5;
    *period = 1000;
    return SUCCESS;
}

int nvmlDeviceGetDecoderUtilization(device_t *device, unsigned int *share, unsigned int *period) {
    ENTER(device->gpu);
    *share = 6;
    *period = 1000;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device_t *device, unsigned long long memory[3]) {
    ENTER(device->gpu);
    memory[0] = 80 * GIB;
    memory[1] = 69 * GIB;
    memory[2] = 11 * GIB;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(device_t *device, unsigned long long memory[5]) {
    ENTER(device->gpu);
    int part = device->instance >= 0;
    memory[1] = (part ? 10 : 80) * GIB;
    memory[2] = 1 * GIB;
    memory[3] = (part ? 7 : 69) * GIB;
    memory[4] = (part ? 2 : 10) * GIB;
    return SUCCESS;
}

#define NUMBER(name, type, expression)                                                                                 \
    int name(device_t *device, type *value) {                                                                          \
        ENTER(device->gpu);                                                                                            \
        ONLY_WHOLE(device);                                                                                            \
        *value = expression;                                                                                           \
        return SUCCESS;                                                                                                \
    }

NUMBER(nvmlDeviceGetPowerUsage, unsigned int, 123456)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned int, 350000)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, 5000000123ULL)
NUMBER(nvmlDeviceGetPerformanceState, unsigned int, 2)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, 0x4 | 0x20)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, 0x8)
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned int, 17)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, 4)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, 5)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, 8)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, 16)
NUMBER(nvmlDeviceGetNumFans, unsigned int, 2)

#define NUMBER_OF(name, expression)                                                                                    \
    int name(device_t *device, unsigned int which, unsigned int *value) {                                              \
        ENTER(device->gpu);                                                                                            \
        ONLY_WHOLE(device);                                                                                            \
        *value = expression;                                                                                           \
        return SUCCESS;                                                                                                \
    }

NUMBER_OF(nvmlDeviceGetTemperature, 55 + device->gpu)
NUMBER_OF(nvmlDeviceGetClockInfo, 1000 + 10 * which)
NUMBER_OF(nvmlDeviceGetMaxClockInfo, 2000 + 10 * which)
NUMBER_OF(nvmlDeviceGetFanSpeed_v2, 30 + which)
NUMBER_OF(nvmlDeviceGetPcieThroughput, which ? 2500 : 1500)

int nvmlDeviceGetTotalEccErrors(device_t *device, unsigned int type, unsigned int counter, unsigned long long *value) {
    ENTER(device->gpu);
    *value = 1 + type + 10 * counter;
    return SUCCESS;
}

int nvmlDeviceGetRemappedRows(device_t *device, unsigned int *corrected, unsigned int *uncorrected,
                              unsigned int *pending, unsigned int *failed) {
    ENTER(device->gpu);
    *corrected = 3;
    *uncorrected = 4;
    *pending = 1;
    *failed = 0;
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(device_t *device, int count, field_t *fields) {
    ENTER(device->gpu);
    for (int at = 0; at < count; at++) {
        char words[32];
        snprintf(words, sizeof words, "field %u ", fields[at].number);
        fields[at].result = told(words, SUCCESS);
        if (fields[at].number == 82) { /* memory temperature */
            fields[at].type = 1;
            fields[at].value.whole = 70;
        } else {
            fields[at].type = 3;
            fields[at].value.large = fields[at].number; /* 29, 30, 31: retired pages */
        }
    }
    return SUCCESS;
}

static int processes(device_t *device, unsigned int *count, process_t *found) {
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    unsigned int pid, room = *count;
    unsigned long long memory;
    int gpu;
    *count = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "process %u %llu %d", &pid, &memory, &gpu) != 3 || gpu != device->gpu)
            continue;
        if (found && *count < room)
            found[*count] = (process_t){pid, memory, -1, -1};
        ++*count;
    }
    if (file)
        fclose(file);
    return *count > (found ? room : 0) ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t *device, unsigned int *count, process_t *found) {
    ENTER(device->gpu);
    return processes(device, count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t *device, unsigned int *count, process_t *found) {
    ENTER(device->gpu);
    return processes(device, count, found); /* the same ones: a process may compute and draw */
}

int nvmlDeviceGetMigMode(device_t *device, unsigned int *current, unsigned int *pending) {
    ENTER(device->gpu);
    *current = *pending = partitions(device->gpu) > 0;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device_t *device, unsigned int *count) {
    ENTER(device->gpu);
    *count = INSTANCES;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device_t *device, unsigned int index, device_t **instance) {
    ENTER(device->gpu);
    if ((int)index >= partitions(device->gpu))
        return NOT_FOUND;
    *instance = &instances[device->gpu][index];
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(device_t *device, unsigned int *id) {
    ENTER(device->gpu);
    *id = device->instance + 7;
    return SUCCESS;
}

int nvmlDeviceGetComputeInstanceId(device_t *device, unsigned int *id) {
    ENTER(device->gpu);
    *id = 0;
    return SUCCESS;
}

int nvmlEventSetCreate(void **set) {
    ENTER(-1);
    *set = &events;
    return SUCCESS;
}

int nvmlEventSetFree(void *set) {
    ENTER(-1);
    return SUCCESS;
}

int nvmlDeviceRegisterEvents(device_t *device, unsigned long long types, void *set) {
    ENTER(device->gpu);
    registered[device->gpu] = types == 8;
    return SUCCESS;
}

int nvmlEventSetWait_v2(void *set, event_t *event, unsigned int milliseconds) {
    ENTER(-1);
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    int sequence, gpu, found = 0;
    unsigned long long code;
    while (file && !found && fgets(line, sizeof line, file))
        if (sscanf(line, "xid %d %llu %d", &sequence, &code, &gpu) == 3 && sequence > last_xid && registered[gpu]) {
            last_xid = sequence;
            *event = (event_t){&devices[gpu], 8, code, -1, -1};
            found = 1;
        }
    if (file)
        fclose(file);
    return found ? SUCCESS : TIMEOUT;
}
