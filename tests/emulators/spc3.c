/* A pretend SPC3 library: the symbols that hardware/spc3.py calls, without a camera.
 *
 * Frame k since the start of an acquisition shows a pattern: its first four pixels are the digits of k to base 256,
 * least first, and pixel i from 4 on is (i + k) mod 251. With a photon rate, pixels are simulated instead: exponential
 * waiting times, each avalanche followed by the dead time, a counter that stays full. What the camera does wrong in the
 * field, this does too; a call that would crash the real library is counted in SPC3_Emulator_Misuse instead.
 *
 * Environment, read by the first constructor and by SPC3_Emulator_Reset:
 *   SPC3_EMULATOR_FAIL       "Function:status" (every call) or "Function:status@n" (the n-th call), comma-separated
 *   SPC3_EMULATOR_START_MS   how long the constructor takes
 *   SPC3_EMULATOR_SETTLE_MS  a continuous start sooner than this after applying settings leaves the camera idle (20)
 *   SPC3_EMULATOR_MEMORY     bytes that the camera keeps before it gives status -18 (without limit)
 *   SPC3_EMULATOR_RATE       photons/s that each pixel detects
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIXELS = 2048, CYCLE = 251, COUNTER_FULL = 511, READOUT = 1040, MOST = 65534 };
enum { OK = 0, NO_DEVICE = -1, OUT_OF_BOUND = -6, EMPTY = -8, INVALID = -11, MEMORY_FULL = -18 };
enum { PACKET = 1000, LARGEST_BUFFER = 4000 * PACKET }; /* a packet is no whole number of frames, as on the wire */

typedef struct {
    uint16_t exposure, integrated, dead_time;
    uint32_t frames;
    int force_8_bit, correction, background;
} Settings;

typedef struct {
    int open, advanced, live, started, idle, snapped;
    Settings pending, applied;
    double applied_at, started_at;
    uint64_t sent;    /* bytes of this acquisition handed over */
    uint64_t cached;  /* frame held in `frame`, plus one */
    uint8_t frame[PIXELS * 2];
} Camera;

static Camera camera;
static uint8_t buffer[LARGEST_BUFFER];
static uint16_t pattern[PIXELS + CYCLE];
static uint8_t pattern_8_bit[PIXELS + CYCLE];
static uint64_t random_state;
static int configured, misused;
static double start_ms, settle_ms, memory, rate;

/* ---- Failing on request -------------------------------------------------------------------------------------------- */

static struct { char name[64]; int status, at, calls; } failures[16];
static int failure_count;

static double number_of(const char *name, double usual) {
    const char *text = getenv(name);
    return text ? atof(text) : usual;
}

static void plan_failures(void) {
    const char *text = getenv("SPC3_EMULATOR_FAIL");
    failure_count = 0;
    while (text && *text && failure_count < 16) {
        failures[failure_count].at = failures[failure_count].calls = 0;
        sscanf(text, "%63[^:]:%d@%d", failures[failure_count].name, &failures[failure_count].status,
               &failures[failure_count].at);
        failure_count++;
        text = strchr(text, ',') ? strchr(text, ',') + 1 : NULL;
    }
}

static int planned(const char *name) {
    for (int i = 0; i < failure_count; i++)
        if (strcmp(name, failures[i].name) == 0 && (++failures[i].calls == failures[i].at || failures[i].at == 0))
            return failures[i].status;
    return OK;
}

void SPC3_Emulator_Reset(void) {
    memset(&camera, 0, sizeof camera);
    configured = 1;
    misused = 0;
    random_state = 88172645463325252u;
    start_ms = number_of("SPC3_EMULATOR_START_MS", 0);
    settle_ms = number_of("SPC3_EMULATOR_SETTLE_MS", 20);
    memory = number_of("SPC3_EMULATOR_MEMORY", 1e18);
    rate = number_of("SPC3_EMULATOR_RATE", 0);
    plan_failures();
    for (int i = 0; i < PIXELS + CYCLE; i++)
        pattern_8_bit[i] = (uint8_t)(pattern[i] = (uint16_t)(i % CYCLE));
}

/* How many calls would have crashed the real library: destroying twice, or any handle that is not open. */
int SPC3_Emulator_Misuse(void) { return misused; }

#define CALL(handle)                                                        \
    do {                                                                    \
        if ((void *)(handle) != (void *)&camera || !camera.open) {          \
            misused++;                                                      \
            return INVALID;                                                 \
        }                                                                   \
        int status_ = planned(__func__);                                    \
        if (status_ != OK) return status_;                                  \
    } while (0)

/* ---- Time and light ------------------------------------------------------------------------------------------------ */

static double now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + 1e-9 * (double)moment.tv_nsec;
}

static void wait_until(double moment) {
    double left = moment - now();
    if (left <= 0) return;
    struct timespec pause = {(time_t)left, (long)(1e9 * (left - floor(left)))};
    nanosleep(&pause, NULL);
}

static double uniform(void) { /* xorshift64*, in (0, 1] */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)(((random_state * 2685821657736338717u) >> 11) + 1) / 9007199254740992.0;
}

static int detections(void) { /* in one hardware frame of one pixel */
    double live = 1e-8 * camera.applied.exposure, time = -log(uniform()) / rate;
    int count = 0;
    for (; time < live && count < COUNTER_FULL; count++)
        time += 1e-9 * camera.applied.dead_time - log(uniform()) / rate;
    return count;
}

static double period(void) { /* s; the readout of a frame takes 1040 units and runs beside the next exposure */
    int units = camera.applied.exposure > READOUT ? camera.applied.exposure : READOUT;
    return 1e-8 * units * camera.applied.integrated;
}

static int is_16_bit(void) {
    const Settings *in = &camera.applied;
    return !in->force_8_bit && (in->integrated > 1 || in->correction || in->background);
}

static int simulated_pixel(void) {
    long sum = 0, most = is_16_bit() ? 65535 : 255;
    for (int i = 0; i < camera.applied.integrated; i++) sum += detections();
    return (int)(sum < most ? sum : most);
}

static int pixel(uint64_t k, int i) {
    if (rate > 0) return simulated_pixel();
    return i < 4 ? (int)(k >> (8 * i) & 255) : (int)((uint64_t)i + k) % CYCLE;
}

static void write_frame(uint64_t k, uint8_t *out) {
    int wide = is_16_bit(), plain = rate > 0 ? PIXELS : 4; /* how many are not copied from the pattern */
    if (rate <= 0 && wide) memcpy(out, pattern + k % CYCLE, PIXELS * 2);
    if (rate <= 0 && !wide) memcpy(out, pattern_8_bit + k % CYCLE, PIXELS);
    for (int i = 0; i < plain; i++) {
        int count = pixel(k, i);
        out[i << wide] = (uint8_t)count;
        if (wide) out[2 * i + 1] = (uint8_t)(count >> 8);
    }
}

static void write_image(uint64_t k, uint16_t *out) {
    for (int i = 0; i < PIXELS; i++) out[i] = (uint16_t)pixel(k, i);
}

/* ---- Construction and settings ------------------------------------------------------------------------------------- */

int SPC3_Constr(void **handle, int mode, char *device) {
    if (!configured) SPC3_Emulator_Reset();
    wait_until(now() + 1e-3 * start_ms);
    int status = planned("SPC3_Constr");
    if (status == OK && (camera.open || (*device && strcmp(device, "EMULATED01") != 0))) status = NO_DEVICE;
    *handle = status == OK ? (void *)&camera : (void *)buffer; /* not null even when it fails */
    if (status != OK) return status;
    memset(&camera, 0, sizeof camera);
    camera.open = 1;
    camera.advanced = mode;
    camera.pending = camera.applied = (Settings){.exposure = READOUT, .integrated = 1, .dead_time = 50, .frames = 1};
    return OK;
}

int SPC3_Destr(void *handle) {
    CALL(handle);
    camera.open = 0;
    return OK;
}

int SPC3_Set_Camera_Par(void *handle, uint16_t exposure, uint32_t frames, uint16_t integrated, uint16_t counters,
                        int force_8_bit, int half_array, int with_sign) {
    CALL(handle);
    if (camera.started || camera.live) return INVALID;
    if (exposure < 1 || exposure > MOST || frames < 1 || frames > MOST || integrated < 1 || integrated > MOST)
        return OUT_OF_BOUND;
    if (counters != 1 || half_array || with_sign) return OUT_OF_BOUND; /* not pretended */
    camera.pending.exposure = camera.advanced ? exposure : READOUT;
    camera.pending.frames = frames;
    camera.pending.integrated = integrated;
    camera.pending.force_8_bit = force_8_bit;
    return OK;
}

static uint16_t calibrated(int wanted) { /* every 7 ns from 31 ns, and 50 */
    int bounded = wanted < 31 ? 31 : wanted > 150 ? 150 : wanted, step = 31 + 7 * ((bounded - 31 + 3) / 7);
    return (uint16_t)(abs(bounded - 50) <= abs(bounded - step) ? 50 : step);
}

int SPC3_Set_DeadTime(void *handle, uint16_t wanted) {
    CALL(handle);
    if (wanted > 150) return OUT_OF_BOUND;
    camera.pending.dead_time = calibrated(wanted);
    return OK;
}

int SPC3_Get_DeadTime(void *handle, uint16_t wanted, uint16_t *nearest) {
    CALL(handle);
    *nearest = calibrated(wanted);
    return OK;
}

int SPC3_Set_DeadTime_Correction(void *handle, int on) {
    CALL(handle);
    camera.pending.correction = on;
    return OK;
}

int SPC3_Set_Background_Subtraction(void *handle, int on) {
    CALL(handle);
    camera.pending.background = on;
    return OK;
}

int SPC3_Apply_settings(void *handle) {
    CALL(handle);
    if (camera.started || camera.live) return INVALID;
    camera.applied = camera.pending;
    camera.applied_at = now();
    return OK;
}

int SPC3_Is16Bit(void *handle, short *wide) {
    CALL(handle);
    *wide = (short)is_16_bit();
    return OK;
}

int SPC3_GetVersion(void *handle, double *firmware, double *software, char *custom) {
    CALL(handle);
    *firmware = 2.0;
    *software = 2.2;
    strcpy(custom, "emulated");
    return OK;
}

int SPC3_GetSerial(void *handle, char *id, char *serial) {
    CALL(handle);
    strcpy(id, "EMULATED01");
    strcpy(serial, "SPC3-EMULATED-0001");
    return OK;
}

/* ---- Live: the image that is due now ------------------------------------------------------------------------------- */

int SPC3_Set_Live_Mode_ON(void *handle) {
    CALL(handle);
    if (camera.started || camera.live) return INVALID;
    camera.live = 1;
    camera.started_at = now();
    return OK;
}

int SPC3_Set_Live_Mode_OFF(void *handle) {
    CALL(handle);
    camera.live = 0;
    return OK;
}

int SPC3_Get_Live_Img(void *handle, uint16_t *image) {
    CALL(handle);
    if (!camera.live) return INVALID;
    write_image((uint64_t)((now() - camera.started_at) / period()), image);
    return OK;
}

/* ---- Snap: into the memory of the camera, then out of it ----------------------------------------------------------- */

int SPC3_Prepare_Snap(void *handle) {
    CALL(handle);
    if (camera.started || camera.live) return INVALID;
    camera.started_at = now();
    camera.snapped = 0;
    return OK;
}

int SPC3_Get_Snap(void *handle) {
    CALL(handle);
    if (camera.started_at == 0) return INVALID;
    wait_until(camera.started_at + camera.applied.frames * period());
    camera.snapped = 1;
    camera.started_at = 0;
    return OK;
}

int SPC3_Get_Img_Position(void *handle, uint16_t *image, uint32_t position, uint16_t counter) {
    CALL(handle);
    if (!camera.snapped) return INVALID;
    if (position < 1 || position > camera.applied.frames || counter != 1) return OUT_OF_BOUND;
    write_image(position - 1, image);
    return OK;
}

/* ---- Continuous: a stream of bytes, cut anywhere ------------------------------------------------------------------- */

int SPC3_Start_ContAcq_in_Memory(void *handle) {
    CALL(handle);
    if (camera.started || camera.live) return INVALID;
    camera.started = 1;
    camera.sent = camera.cached = 0;
    camera.started_at = now();
    camera.idle = camera.started_at - camera.applied_at < 1e-3 * settle_ms;
    return OK;
}

int SPC3_Stop_ContAcq_in_Memory(void *handle) {
    CALL(handle);
    camera.started = 0;
    return OK;
}

static void write_stream(uint64_t first, size_t bytes) {
    size_t size = (size_t)PIXELS << is_16_bit();
    for (size_t done = 0; done < bytes;) {
        uint64_t k = (first + done) / size;
        size_t inside = (first + done) % size, part = size - inside < bytes - done ? size - inside : bytes - done;
        if (camera.cached != k + 1) write_frame(k, camera.frame);
        camera.cached = k + 1;
        memcpy(buffer + done, camera.frame + inside, part);
        done += part;
    }
}

int SPC3_Get_Memory_Buffer(void *handle, double *bytes, uint8_t **data) {
    CALL(handle);
    if (!camera.started) return INVALID;
    double frames = (now() - camera.started_at) / period(), size = (double)(PIXELS << is_16_bit());
    double ready = camera.idle ? 0 : floor(frames * size / PACKET) * PACKET - (double)camera.sent;
    memset(buffer, 0xEE, 64 * PACKET); /* what was handed over before is gone */
    *bytes = 0;
    *data = buffer;
    if (ready > memory) return MEMORY_FULL;
    if (ready < PACKET) return EMPTY;
    *bytes = ready < LARGEST_BUFFER ? ready : LARGEST_BUFFER;
    write_stream(camera.sent, (size_t)*bytes);
    camera.sent += (uint64_t)*bytes;
    return OK;
}
