/* Writes tensors as a dump that checkpoint12 reads. C11 and nothing but libc: copy this file.
 *
 *   #include "dump.h"
 *   DUMP("my-dump", 0, "h.0.ln_1", x, B, T, C);      my-dump/step_00/h.0.ln_1.npy, of shape B, T, C
 *   DUMP("my-dump", DUMP_TOP, "tokens", ids, B, N);  my-dump/tokens.npy
 *
 * x points to the first of the values (of float x[2][3] that is *x): float, double, int32_t or int64_t,
 * one after another, the last index running fastest. The folder my-dump need not be there, but that
 * which it is in must. Begin with an empty one: files of an earlier run would stay among the new.
 * What cannot be written ends the program. In C++ call dump_array, the shape's end -1:
 *
 *   const long shape[] = {1, T, C, -1};
 *   dump_array("my-dump", 0, "h.0.ln_1", x, "<f4", shape); */
#ifndef DUMP_H
#define DUMP_H
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <direct.h>
#define DUMP_MKDIR(path) _mkdir(path)
#else
#include <sys/stat.h>
#define DUMP_MKDIR(path) mkdir(path, 0777)
#endif

#define DUMP_TOP (-1)
#define DUMP(out, step, name, data, ...) dump_array(out, step, name, data, DUMP_TYPE(data), (const long[]){__VA_ARGS__, -1})
#define DUMP_TYPE(data) _Generic(*(data), float: "<f4", double: "<f8", int32_t: "<i4", int64_t: "<i8")

static inline void dump_check(int ok, const char *path) {
  if (ok) return;
  fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
  exit(1);
}

/* What DUMP calls. type is "<f4", "<f8", "<i4" or "<i8", and -1 ends the shape. */
static inline void dump_array(const char *out, int step, const char *name, const void *data, const char *type,
                              const long *shape) {
  char path[4096], head[256];
  dump_check(DUMP_MKDIR(out) == 0 || errno == EEXIST, out);
  int used = snprintf(path, sizeof path, step < 0 ? "%s" : "%s/step_%02d", out, step);
  dump_check(DUMP_MKDIR(path) == 0 || errno == EEXIST, path);
  errno = ENAMETOOLONG;
  dump_check((size_t)used + strlen(name) + sizeof "/.npy" <= sizeof path, name);
  sprintf(path + used, "/%s.npy", name);

  size_t bytes = (size_t)(type[2] - '0');
  int end = sprintf(head, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
  for (; *shape >= 0; bytes *= (size_t)*shape++) end += sprintf(head + end, "%ld, ", *shape);
  end += sprintf(head + end, ")}");
  while ((10 + end + 1) % 64 != 0) head[end++] = ' '; /* the values begin at a multiple of 64 */
  head[end++] = '\n';

  const char magic[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)end, 0};
  FILE *f = fopen(path, "wb");
  dump_check(f != NULL, path);
  int ok = fwrite(magic, sizeof magic, 1, f) == 1 && fwrite(head, (size_t)end, 1, f) == 1 &&
           (bytes == 0 || fwrite(data, bytes, 1, f) == 1);
  dump_check(fclose(f) == 0 && ok, path);
}
#endif
