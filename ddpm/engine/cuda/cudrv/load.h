/* load.h: what load.c found. */
#define CUDRV_TEXT 512

struct cudrv_state {
  char library[CUDRV_TEXT]; /* path of the driver's library; empty if there is none */
  char error[CUDRV_TEXT];   /* why it was not loaded */
  int init;                 /* what cuInit returned */
  int missing;              /* entry points that this driver does not have */
};

const struct cudrv_state *cudrv_status(void);
