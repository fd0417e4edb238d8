/* GPT-2 in C11 that takes one token at a time and dumps its stages as it goes: an engine to try
 * checkpoint12 with, and to see dump.h used.
 *
 *   cc -O2 -o my-engine-c scripts/engines/gpt2.c -lm
 *   ./my-engine-c MODEL TOKENS.npy MASK.npy OUT */
#include <math.h>
#include "dump.h"

static int C, H, D, F, L, V; /* width, heads, width of a head, inner width, layers, vocabulary */
static double eps;
static long B, N;            /* rows, tokens in each */
static int64_t *tokens;      /* B, N */

typedef struct {
  float *ln_1, *ln_1b, *c_attn, *c_attnb, *c_proj, *c_projb, *ln_2, *ln_2b, *c_fc, *c_fcb, *down, *downb;
  float *cache_k, *cache_v; /* B, H, N, D */
} Block;
static Block *blocks;
static float *wte, *wpe, *ln_f, *ln_fb, *head;
static const char *folder; /* of the dump */

static void need(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "cannot use %s\n", what);
  exit(1);
}

static void *room(long n, size_t size) {
  void *p = calloc((size_t)n, size);
  need(p != NULL, "so much memory");
  return p;
}

static FILE *opened(const char *dir, const char *name, char *path) {
  snprintf(path, 4096, "%s%s", dir, name);
  FILE *f = fopen(path, "rb");
  need(f != NULL, path);
  return f;
}

/* The next n bytes of a file, and a 0 after them. */
static char *text(FILE *f, long n, const char *path) {
  need(n >= 0 && n < 1 << 30, path);
  char *s = room(n + 1, 1);
  need(fread(s, 1, (size_t)n, f) == (size_t)n, path);
  return s;
}

/* What follows "key": in JSON, or NULL. */
static const char *json(const char *s, const char *key) {
  char quoted[256];
  int n = snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const char *at = s ? strstr(s, quoted) : NULL;
  return at ? at + n + strspn(at + n, " \t\r\n:") : NULL;
}

static double number(const char *s, const char *key) {
  const char *at = json(s, key);
  return at ? strtod(at, NULL) : 0;
}

/* An int64 .npy of shape B, N. */
static int64_t *ids(const char *path, long *rows, long *columns) {
  char full[4096];
  FILE *f = opened(path, "", full);
  unsigned char magic[10] = {0};
  need(fread(magic, 1, 10, f) == 10 && !memcmp(magic, "\x93NUMPY\x01", 7), path);
  char *dict = text(f, magic[8] + 256 * magic[9], path), *shape = strchr(dict, '(');
  need(strstr(dict, "<i8") && shape && sscanf(shape, "(%ld, %ld", rows, columns) == 2, path);
  free(dict);
  const long n = *rows * *columns;
  need(*rows > 0 && *columns > 1 && *columns < (1 << 24) / *rows, path);
  int64_t *v = room(n, sizeof *v);
  need(fread(v, sizeof *v, (size_t)n, f) == (size_t)n, path);
  fclose(f);
  return v;
}

static FILE *weights;
static long values;  /* where they begin in the file */
static char *header; /* of the safetensors file: {"name":{"dtype":"F32","shape":[…],"data_offsets":[begin,end]},…} */

/* The weight of this name, with or without "transformer." before it, as n floats. */
static float *weight(const char *name, long n) {
  char prefixed[256];
  snprintf(prefixed, sizeof prefixed, "transformer.%s", name);
  const char *at = json(header, name) ? json(header, name) : json(header, prefixed);
  const char *offsets = json(at, "data_offsets"), *type = json(at, "dtype");
  long begin, end;
  need(offsets && type && !strncmp(type, "\"F32\"", 5) && sscanf(offsets, "[%ld,%ld", &begin, &end) == 2, name);
  need(end - begin == 4 * n && fseek(weights, values + begin, SEEK_SET) == 0, name);
  float *w = room(n, 4);
  need(fread(w, 4, (size_t)n, weights) == (size_t)n, name);
  return w;
}

/* x and y: rows, n */
static void norm(float *y, const float *x, const float *gain, const float *bias, long rows, int n) {
  for (; rows-- > 0; x += n, y += n) {
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++) mean += x[i] / (double)n;
    for (int i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++) y[i] = (float)((x[i] - mean) / sqrt(variance + eps) * gain[i] + bias[i]);
  }
}

/* x: rows, in; w: in, out; y: rows, out */
static void linear(float *y, const float *x, const float *w, const float *bias, long rows, int in, int out) {
  for (; rows-- > 0; x += in, y += out) {
    memcpy(y, bias, (size_t)out * 4);
    for (int i = 0; i < in; i++)
      for (int j = 0; j < out; j++) y[j] += x[i] * w[(long)i * out + j];
  }
}

static float dot(const float *a, const float *b, int n) {
  float sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void softmax(float *p, const float *x, int n, double t) {
  double most = x[0], sum = 0;
  for (int i = 1; i < n; i++) most = fmax(most, x[i]);
  for (int i = 0; i < n; i++) sum += exp((x[i] - most) / t);
  for (int i = 0; i < n; i++) p[i] = (float)(exp((x[i] - most) / t) / sum);
}

static float gelu(float x) { return (float)(0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))); }

static const char *at(int layer, const char *name) { /* the name of a layer's stage or weight */
  static char s[64];
  snprintf(s, sizeof s, "h.%d.%s", layer, name);
  return s;
}

static void load(const char *model) {
  static char path[4096], config[1 << 16];
  FILE *f = opened(model, "/config.json", path);
  need(fread(config, 1, sizeof config - 1, f) > 0, path);
  fclose(f);
  C = (int)number(config, "n_embd"), H = (int)number(config, "n_head"), L = (int)number(config, "n_layer");
  V = (int)number(config, "vocab_size"), F = (int)number(config, "n_inner"), eps = number(config, "layer_norm_epsilon");
  const long P = (long)number(config, "n_positions");
  need(C > 0 && H > 0 && C % H == 0 && L > 0 && V > 0 && N - 1 <= P, path);
  D = C / H, F = F > 0 ? F : 4 * C;

  weights = opened(model, "/model.safetensors", path);
  int64_t size;
  need(fread(&size, 8, 1, weights) == 1, path);
  header = text(weights, size, path);
  values = 8 + size;
  wte = weight("wte.weight", (long)V * C), wpe = weight("wpe.weight", P * C);
  ln_f = weight("ln_f.weight", C), ln_fb = weight("ln_f.bias", C);
  head = json(header, "lm_head.weight") ? weight("lm_head.weight", (long)V * C) : wte;
  blocks = room(L, sizeof *blocks);
  for (int i = 0; i < L; i++) {
    const struct {
      float **to;
      const char *name;
      int n;
    } all[] = {{&blocks[i].ln_1, "ln_1.weight", C},               {&blocks[i].ln_1b, "ln_1.bias", C},
               {&blocks[i].c_attn, "attn.c_attn.weight", 3 * C * C}, {&blocks[i].c_attnb, "attn.c_attn.bias", 3 * C},
               {&blocks[i].c_proj, "attn.c_proj.weight", C * C},  {&blocks[i].c_projb, "attn.c_proj.bias", C},
               {&blocks[i].ln_2, "ln_2.weight", C},               {&blocks[i].ln_2b, "ln_2.bias", C},
               {&blocks[i].c_fc, "mlp.c_fc.weight", C * F},       {&blocks[i].c_fcb, "mlp.c_fc.bias", F},
               {&blocks[i].down, "mlp.c_proj.weight", F * C},     {&blocks[i].downb, "mlp.c_proj.bias", C}};
    for (int j = 0; j < 12; j++) *all[j].to = weight(at(i, all[j].name), all[j].n);
    blocks[i].cache_k = room(B * N * C, 4), blocks[i].cache_v = room(B * N * C, 4);
  }
  fclose(weights);
  free(header);
}

/* Of a cache with room for N positions, the first S. */
static void dump_cache(int step, const char *name, const float *cache, long S) {
  float *held = room(B * H * S * D, 4);
  for (long h = 0; h < B * H; h++) memcpy(held + h * S * D, cache + h * N * D, (size_t)(S * D) * 4);
  DUMP(folder, step, name, held, B, H, S, D);
  free(held);
}

static float *x, *a, *qkv, *q, *k, *v, *scores, *probs, *context, *m, *logits, *p_t;
static int64_t *next;

/* A step: the token at position p of each row. */
static void step(int p) {
  const int S = p + 1;
  for (int b = 0; b < B; b++) {
    need(tokens[b * N + p] >= 0 && tokens[b * N + p] < V, "a token that is not in the vocabulary");
    memcpy(x + b * C, wte + tokens[b * N + p] * C, (size_t)C * 4);
  }
  DUMP(folder, p, "wte", x, B, 1, C);
  DUMP(folder, p, "wpe", wpe + (long)p * C, 1, C);
  for (int i = 0; i < B * C; i++) x[i] += wpe[(long)p * C + i % C];
  DUMP(folder, p, "embed", x, B, 1, C);
  for (int i = 0; i < L; i++) {
    const Block *w = &blocks[i];
    norm(a, x, w->ln_1, w->ln_1b, B, C);
    DUMP(folder, p, at(i, "ln_1"), a, B, 1, C);
    linear(qkv, a, w->c_attn, w->c_attnb, B, C, 3 * C);
    DUMP(folder, p, at(i, "attn.c_attn"), qkv, B, 1, 3 * C);
    for (int b = 0; b < B; b++) {
      const float *row = qkv + b * 3 * C;
      memcpy(q + b * C, row, (size_t)C * 4);
      memcpy(k + b * C, row + C, (size_t)C * 4);
      memcpy(v + b * C, row + 2 * C, (size_t)C * 4);
    }
    DUMP(folder, p, at(i, "attn.q"), q, B, H, 1, D);
    DUMP(folder, p, at(i, "attn.k"), k, B, H, 1, D);
    DUMP(folder, p, at(i, "attn.v"), v, B, H, 1, D);
    for (long h = 0; h < B * H; h++) { /* the heads of all rows */
      memcpy(w->cache_k + (h * N + p) * D, k + h * D, (size_t)D * 4);
      memcpy(w->cache_v + (h * N + p) * D, v + h * D, (size_t)D * 4);
      for (int s = 0; s < S; s++) scores[h * S + s] = dot(q + h * D, w->cache_k + (h * N + s) * D, D) / sqrtf((float)D);
      softmax(probs + h * S, scores + h * S, S, 1);
      memset(context + h * D, 0, (size_t)D * 4);
      for (int s = 0; s < S; s++)
        for (int d = 0; d < D; d++) context[h * D + d] += probs[h * S + s] * w->cache_v[(h * N + s) * D + d];
    }
    dump_cache(p, at(i, "attn.cache_k"), w->cache_k, S);
    dump_cache(p, at(i, "attn.cache_v"), w->cache_v, S);
    DUMP(folder, p, at(i, "attn.scores"), scores, B, H, 1, S);
    DUMP(folder, p, at(i, "attn.probs"), probs, B, H, 1, S);
    DUMP(folder, p, at(i, "attn.context"), context, B, 1, C);
    linear(a, context, w->c_proj, w->c_projb, B, C, C);
    DUMP(folder, p, at(i, "attn.c_proj"), a, B, 1, C);
    for (int j = 0; j < B * C; j++) x[j] += a[j];
    DUMP(folder, p, at(i, "resid_mid"), x, B, 1, C);
    norm(a, x, w->ln_2, w->ln_2b, B, C);
    DUMP(folder, p, at(i, "ln_2"), a, B, 1, C);
    linear(m, a, w->c_fc, w->c_fcb, B, C, F);
    DUMP(folder, p, at(i, "mlp.c_fc"), m, B, 1, F);
    for (int j = 0; j < B * F; j++) m[j] = gelu(m[j]);
    DUMP(folder, p, at(i, "mlp.act"), m, B, 1, F);
    linear(a, m, w->down, w->downb, B, F, C);
    DUMP(folder, p, at(i, "mlp.c_proj"), a, B, 1, C);
    for (int j = 0; j < B * C; j++) x[j] += a[j];
    DUMP(folder, p, at(i, "resid_post"), x, B, 1, C);
  }
  norm(a, x, ln_f, ln_fb, B, C);
  DUMP(folder, p, "ln_f", a, B, 1, C);
  for (int b = 0; b < B; b++) {
    float *l = logits + (long)b * V;
    for (int j = 0; j < V; j++) l[j] = dot(a + b * C, head + (long)j * C, C);
    next[b] = 0;
    for (int j = 1; j < V; j++)
      if (l[j] > l[next[b]]) next[b] = j;
  }
  DUMP(folder, p, "logits", logits, B, 1, V);
  DUMP(folder, p, "logits_last", logits, B, V);
  DUMP(folder, p, "next_token", next, B);
  const char *names[] = {"probs_t0.5", "probs_t1", "probs_t2"};
  for (int i = 0; i < 3; i++) {
    for (int b = 0; b < B; b++) softmax(p_t + (long)b * V, logits + (long)b * V, V, 0.5 * (1 << i));
    DUMP(folder, p, names[i], p_t, B, V);
  }
}

int main(int argc, char **argv) {
  need(argc == 5, "these arguments: want MODEL TOKENS.npy MASK.npy OUT");
  long rows, columns, padding = 0;
  int64_t *mask = ids(argv[3], &rows, &columns);
  for (long i = 0; i < rows * columns; i++) padding += mask[i] == 0;
  free(mask);
  if (padding > 0) return 77; /* this engine knows none */
  tokens = ids(argv[2], &B, &N);
  folder = argv[4];
  load(argv[1]);
  x = room(B * C, 4), a = room(B * C, 4), context = room(B * C, 4), m = room(B * F, 4), qkv = room(B * 3 * C, 4);
  q = room(B * C, 4), k = room(B * C, 4), v = room(B * C, 4), scores = room(B * H * N, 4), probs = room(B * H * N, 4);
  logits = room(B * V, 4), p_t = room(B * V, 4), next = room(B, sizeof *next);
  DUMP(folder, DUMP_TOP, "tokens", tokens, B, N);
  for (int p = 0; p < N - 1; p++) step(p); /* the last token is never fed */
  return 0;
}
