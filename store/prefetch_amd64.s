#include "textflag.h"

// func prefetch(at *unsafe.Pointer, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ at+0(FP), AX
	MOVQ n+8(FP), CX
	JMP  test

next:
	MOVQ       (AX), BX
	PREFETCHT0 (BX)
	PREFETCHT0 64(BX)
	ADDQ       $8, AX
	DECQ       CX

test:
	TESTQ CX, CX
	JNZ   next
	RET
