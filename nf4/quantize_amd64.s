#include "textflag.h"

// SEARCH counts the thresholds below each of eight scaled weights. A comparison's mask is -1, so the lanes of n count downwards: after each level they hold minus the
// number of thresholds known to be below, in units of the level. A permutation looks at the last two or three bits of a lane; its table has the threshold for -i at
// i mod 4 or 8.
#define SEARCH(at, v, n, m) \
	VMULPS    at(SI)(R8*1), Y5, v \
	VCMPPS    $0x1e, Y8, v, n     \
	VBLENDVPS n, Y10, Y9, m       \
	VCMPPS    $0x1e, m, v, m      \
	VPADDD    n, n, n             \
	VPADDD    m, n, n             \
	VPERMILPS n, Y11, m           \
	VCMPPS    $0x1e, m, v, m      \
	VPADDD    n, n, n             \
	VPADDD    m, n, n             \
	VPERMPS   Y12, n, m           \
	VCMPPS    $0x1e, m, v, m      \
	VPADDD    n, n, n             \
	VPADDD    m, n, n

// func quantizeAVX2(x *float32, blocks, blockSize int, packed *byte, absmax *float32, with *vectorTables)
TEXT ·quantizeAVX2(SB), NOSPLIT, $0-48
	MOVQ           x+0(FP), SI
	MOVQ           blocks+8(FP), CX
	MOVQ           blockSize+16(FP), BX
	MOVQ           packed+24(FP), DI
	MOVQ           absmax+32(FP), DX
	MOVQ           with+40(FP), AX
	SHLQ           $2, BX               // bytes of a block
	VBROADCASTSS   0(AX), Y8            // level 0: the middle threshold
	VBROADCASTSS   4(AX), Y9            // level 1: where it is not below,
	VBROADCASTSS   8(AX), Y10           // and where it is
	VBROADCASTSS   12(AX), Y13          // all bits but the sign
	VBROADCASTF128 16(AX), Y11          // level 2
	VMOVUPS        32(AX), Y12          // level 3
	VPBROADCASTD   64(AX), Y14          // 16 and 1 in turn, as bytes
	VMOVSS         68(AX), X6           // infinity
	VMOVSS         72(AX), X7           // one

block:
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	XORQ  R8, R8

largest:                                // magnitudes order as integers do, and a NaN is the largest
	VPAND   (SI)(R8*1), Y13, Y2
	VPAND   32(SI)(R8*1), Y13, Y3
	VPAND   64(SI)(R8*1), Y13, Y4
	VPAND   96(SI)(R8*1), Y13, Y5
	VPMAXUD Y2, Y0, Y0
	VPMAXUD Y3, Y1, Y1
	VPMAXUD Y4, Y0, Y0
	VPMAXUD Y5, Y1, Y1
	ADDQ    $128, R8
	CMPQ    R8, BX
	JLT     largest

	VPMAXUD      Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPMAXUD      X1, X0, X0
	VPSHUFD      $0x4e, X0, X1
	VPMAXUD      X1, X0, X0
	VPSHUFD      $0xb1, X0, X1
	VPMAXUD      X1, X0, X0
	VMOVSS       X0, (DX)
	ADDQ         $4, DX
	VDIVSS       X0, X7, X0             // 1/absmax,
	VPCMPEQD     X6, X0, X1
	VPANDN       X0, X1, X0             // 0 where it overflows
	VBROADCASTSS X0, Y5
	XORQ         R8, R8

codes:
	SEARCH(0, Y4, Y0, Y1)
	SEARCH(32, Y4, Y1, Y2)
	SEARCH(64, Y4, Y2, Y3)
	SEARCH(96, Y4, Y3, Y15)
	VPACKSSDW    Y1, Y0, Y0
	VPACKSSDW    Y3, Y2, Y2
	VPACKSSWB    Y2, Y0, Y0             // minus 32 codes as bytes, in each lane four of every vector
	VPABSB       Y0, Y0
	VPMADDUBSW   Y14, Y0, Y0            // pairs, as words: 16 times the first and the second
	VPACKUSWB    Y0, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPUNPCKLWD   X1, X0, X0             // two pairs of each lane in turn: the order of the weights
	VMOVDQU      X0, (DI)
	ADDQ         $16, DI
	ADDQ         $128, R8
	CMPQ         R8, BX
	JLT          codes

	ADDQ BX, SI
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET
