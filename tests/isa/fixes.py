"""Where Bochs 3.0 departs from Intel's manuals in what our kernels use, and how bochs.py sets it right.

Comes in: nothing. Goes out: FIXES, replacements of texts that each stand `times` times in a source file. `probe.cpp`
notices each one that is missing. Found by reading Bochs beside the Software Developer's Manual (SDM) and by the probe;
they can go when a later version is pinned that has them.
"""

import collections

Fix = collections.namedtuple("Fix", "why file old new times", defaults=[1])

NO_TILE = "(~BX_CPU_THIS_PTR xcr0.val32 & (BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK))"
ARMED = "(BX_CPU_THIS_PTR msr.ia32_xfd & BX_XCR0_XTILEDATA_MASK)"

BYTES = [
    Fix(
        "TDPBSSD, TDPBSUD and TDPBUSD took signed bytes for unsigned ones",
        "cpu/avx/amx.cc",
        f"Bit32s({register}byte[{at}])",
        f"Bit32s(Bit8s({register}byte[{at}]))",
        2,
    )
    for register in "xy"
    for at in range(4)
]

CONVERSIONS = [
    Fix(
        "VCVTNE2PS2BF16 read its upper half behind the end of the register",
        "cpu/avx/avx512_bf16.cc",
        "convert_ne_fp32_to_bfloat16(op1.vmm32u(n));",
        "convert_ne_fp32_to_bfloat16(op1.vmm32u(n - DWORD_ELEMENTS(len)));",
    ),
    Fix(
        "VCVTNEPS2BF16 with a merging mask wrote zeros where it keeps elements",
        "cpu/avx/avx512_bf16.cc",
        "simd_pblendw(&BX_READ_AVX_REG(i->dst()), &dst, opmask, num_elements);",
        "for (unsigned at = 0; at < num_elements; at++)\n"
        "      if (!(opmask & (1u << at))) dst.vmm16u(at) = BX_READ_AVX_REG(i->dst()).vmm16u(at);",
    ),
]

DOTS = [
    Fix(
        "VDPBF16PS with a side in memory took a short displacement for fours instead of whole vectors",
        "cpu/decoder/ia_opcodes_evex.def",
        "BX_ISA_AVX512_BF16, OP_Vps, OP_Hdq, OP_mVdq32,",
        "BX_ISA_AVX512_BF16, OP_Vps, OP_Hdq, OP_mVdq,",
    ),
]

# STTILECFG and a change of context.
SAVED_STATE = [
    Fix(
        "STTILECFG was looked for under VEX.W1, and is W0",
        "cpu/decoder/fetchdecode_opmap_avx.cc",
        "ATTR_VEX_W1 | ATTR_VL128 | ATTR_MOD_MEM | ATTR_IS64, BX_IA_STTILECFG)",
        "ATTR_VEX_W0 | ATTR_VL128 | ATTR_MOD_MEM | ATTR_IS64, BX_IA_STTILECFG)",
    ),
    Fix(
        "rows and bytes per row changed places when a configuration was stored",
        "cpu/xsave.cc",
        "amx->tilecfg[n].rows;",
        "amx->tilecfg[n].bytes_per_row;",
    ),
    Fix(
        "the other half of it",
        "cpu/xsave.cc",
        "tilecfg.vmmubyte(48+n) = BX_CPU_THIS_PTR amx->tilecfg[n].bytes_per_row;",
        "tilecfg.vmmubyte(48+n) = BX_CPU_THIS_PTR amx->tilecfg[n].rows;",
    ),
    Fix(
        "only 8 of the 16 rows of a tile were saved and restored",
        "cpu/xsave.cc",
        "row < BX_TILE_REGISTERS",
        "row < BX_TILE_MAX_ROWS",
        2,
    ),
    Fix(
        "tiles counted as unused when one was used, and the reverse",
        "cpu/xsave.cc",
        "amx->tile_use_tracker == 0);",
        "amx->tile_use_tracker != 0);",
    ),
    Fix(
        "XRSTOR did not step over a part of a compacted image that it was not asked to restore",
        "cpu/xsave.cc",
        "        if (format & feature_mask)\n          offset += xsave_restore[feature].len;\n      }\n",
        "      }\n      if (format & feature_mask)\n        offset += xsave_restore[feature].len;\n",
    ),
]

# Extended feature disable (SDM volume 1, 13.14): by it Linux gives a process tiles only after it has asked for them,
# and without it Linux leaves AMX off.
FEATURE_DISABLE = [
    Fix("CPUID: the feature", "cpu/cpuid.cc", "leaf->eax |= (1<<3);", "leaf->eax |= (1<<3) | (1<<4);"),
    Fix(
        "CPUID: the component that has it",
        "cpu/cpuid.cc",
        "leaf->ecx = (cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;",
        "leaf->ecx = (cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;\n"
        "      if (subfunction == xcr0_t::BX_XCR0_XTILEDATA_BIT) leaf->ecx |= 1 << 2;",
    ),
    Fix("the registers", "cpu/cpu.h", "Bit64u ia32_xss;", "Bit64u ia32_xss, ia32_xfd, ia32_xfd_error;"),
    Fix(
        "their state at reset",
        "cpu/init.cc",
        "BX_CPU_THIS_PTR msr.ia32_xss = 0;",
        "BX_CPU_THIS_PTR msr.ia32_xss = BX_CPU_THIS_PTR msr.ia32_xfd = BX_CPU_THIS_PTR msr.ia32_xfd_error = 0;",
    ),
    Fix(
        "their names",
        "cpu/msr.cc",
        '  msr_desc[BX_MSR_XSS] = new MSR_Descriptor("MSR_IA32_XSS", BX_ISA_XSAVES);',
        '  msr_desc[BX_MSR_XSS] = new MSR_Descriptor("MSR_IA32_XSS", BX_ISA_XSAVES);\n'
        '  msr_desc[BX_MSR_IA32_XFD] = new MSR_Descriptor("MSR_IA32_XFD", BX_ISA_AMX);\n'
        '  msr_desc[BX_MSR_IA32_XFD_ERROR] = new MSR_Descriptor("MSR_IA32_XFD_ERR", BX_ISA_AMX);',
    ),
    Fix(
        "reading them",
        "cpu/msr.cc",
        "      val64 = BX_CPU_THIS_PTR msr.ia32_xss;\n      break;\n",
        "      val64 = BX_CPU_THIS_PTR msr.ia32_xss;\n      break;\n"
        "    case BX_MSR_IA32_XFD:\n      val64 = BX_CPU_THIS_PTR msr.ia32_xfd;\n      break;\n"
        "    case BX_MSR_IA32_XFD_ERROR:\n      val64 = BX_CPU_THIS_PTR msr.ia32_xfd_error;\n      break;\n",
    ),
    Fix(
        "writing them",
        "cpu/msr.cc",
        "        BX_CPU_THIS_PTR msr.ia32_xss = val_64;\n        break;\n      }\n",
        "        BX_CPU_THIS_PTR msr.ia32_xss = val_64;\n        break;\n      }\n"
        "    case BX_MSR_IA32_XFD:\n    case BX_MSR_IA32_XFD_ERROR:\n"
        "      if (val_64 & ~Bit64u(BX_XCR0_XTILEDATA_MASK)) return false;\n"
        "      if (index == BX_MSR_IA32_XFD) {\n"
        "        BX_CPU_THIS_PTR msr.ia32_xfd = val_64;\n        handleAvxModeChange();\n      }\n"
        "      else BX_CPU_THIS_PTR msr.ia32_xfd_error = val_64;\n      break;\n",
    ),
    Fix(
        "instructions of AMX are refused while it is set",
        "cpu/proc_ctrl.cc",
        f"{NO_TILE} != 0)\n    clear_amx_ok();",
        f"{NO_TILE} != 0 ||\n      {ARMED} != 0)\n    clear_amx_ok();",
    ),
    Fix(
        "with the exception by which the kernel gives the state",
        "cpu/proc_ctrl.cc",
        f"  if {NO_TILE}\n    exception(BX_UD_EXCEPTION, 0);\n",
        f"  if {NO_TILE}\n    exception(BX_UD_EXCEPTION, 0);\n\n"
        f"  if ({ARMED}) {{\n"
        "    BX_CPU_THIS_PTR msr.ia32_xfd_error = BX_XCR0_XTILEDATA_MASK;\n    exception(BX_NM_EXCEPTION, 0);\n  }\n",
    ),
    Fix(
        "a disabled state is saved as an unused one",
        "cpu/xsave.cc",
        "Bit32u xinuse = get_xinuse_vector(requested_feature_bitmap);",
        "Bit32u xinuse = get_xinuse_vector(requested_feature_bitmap) & ~Bit32u(BX_CPU_THIS_PTR msr.ia32_xfd);",
        2,
    ),
    Fix(
        "and is not restored",
        "cpu/xsave.cc",
        "  Bit32u restore_mask = xstate_bv & format;\n",
        "  Bit32u restore_mask = xstate_bv & format;\n"
        "  if (requested_feature_bitmap & restore_mask & BX_CPU_THIS_PTR msr.ia32_xfd) {\n"
        "    BX_CPU_THIS_PTR msr.ia32_xfd_error = BX_XCR0_XTILEDATA_MASK;\n    exception(BX_NM_EXCEPTION, 0);\n  }\n",
    ),
]

# Not the CPU: an image longer than a block was read over the blocks that follow, which lay in another order.
MEMORY = [Fix("blocks of RAM lie in order", "memory/memory_stub.cc", "  if (0) {", "  if (host >= guest) {")]

FIXES = BYTES + CONVERSIONS + DOTS + SAVED_STATE + FEATURE_DISABLE + MEMORY
