# How everything is compiled. Warnings are errors with both compilers.
option(CERTSWAP_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
option(CERTSWAP_COVERAGE "Build with gcov counters" OFF)
option(CERTSWAP_WERROR "Treat warnings as errors" ON)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

add_library(certswap_flags INTERFACE)
target_compile_definitions(certswap_flags INTERFACE _GNU_SOURCE CERTSWAP_VERSION="${PROJECT_VERSION}")
target_include_directories(certswap_flags INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/agent)
target_compile_options(certswap_flags INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
    -Wwrite-strings -Wswitch-enum -Wvla -Wformat=2 -Wundef -Wno-unused-parameter
    -fstack-protector-strong -fno-common)
if(CERTSWAP_WERROR)
    target_compile_options(certswap_flags INTERFACE -Werror)
endif()
if(CERTSWAP_SANITIZE)
    target_compile_options(certswap_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(certswap_flags INTERFACE -fsanitize=address,undefined)
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
    target_compile_options(certswap_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(CERTSWAP_COVERAGE)
    target_compile_options(certswap_flags INTERFACE --coverage)
    target_link_options(certswap_flags INTERFACE --coverage)
endif()
target_link_options(certswap_flags INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)

# certswap_room(NAME [ROOMS...] [PACKAGES...]): one static library from agent/NAME/*.c. The rooms that it may use are named
# here, once; tests/unit/rooms checks the includes against the same order.
function(certswap_room name)
    cmake_parse_arguments(ROOM "" "" "ROOMS;PACKAGES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.c)
    add_library(room_${name} STATIC ${sources})
    target_link_libraries(room_${name} PUBLIC certswap_flags)
    foreach(other IN LISTS ROOM_ROOMS)
        target_link_libraries(room_${name} PUBLIC room_${other})
    endforeach()
    target_link_libraries(room_${name} PUBLIC ${ROOM_PACKAGES})
endfunction()
