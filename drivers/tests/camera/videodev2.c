/* Prints the sizes, places and request numbers of linux/videodev2.h that src/camera/v4l2/abi.rs is checked against:
 *
 *     gcc -o /tmp/videodev2 drivers/tests/camera/videodev2.c && /tmp/videodev2
 */
#include <stddef.h>
#include <stdio.h>

#include <linux/videodev2.h>

#define SIZE(type) printf("sizeof %s %zu\n", #type, sizeof(struct type))
#define PLACE(type, field) printf("offset %s.%s %zu\n", #type, #field, offsetof(struct type, field))
#define NUMBER(name) printf("%s 0x%lx\n", #name, (unsigned long)(name))

int main(void)
{
    SIZE(v4l2_capability);
    SIZE(v4l2_fmtdesc);
    SIZE(v4l2_format);
    SIZE(v4l2_pix_format);
    SIZE(v4l2_streamparm);
    SIZE(v4l2_requestbuffers);
    SIZE(v4l2_buffer);
    PLACE(v4l2_capability, capabilities);
    PLACE(v4l2_capability, device_caps);
    PLACE(v4l2_fmtdesc, pixelformat);
    PLACE(v4l2_format, fmt);
    PLACE(v4l2_pix_format, bytesperline);
    PLACE(v4l2_pix_format, sizeimage);
    PLACE(v4l2_streamparm, parm.capture.timeperframe);
    PLACE(v4l2_requestbuffers, memory);
    PLACE(v4l2_buffer, timestamp);
    PLACE(v4l2_buffer, timecode);
    PLACE(v4l2_buffer, sequence);
    PLACE(v4l2_buffer, memory);
    PLACE(v4l2_buffer, m);
    PLACE(v4l2_buffer, length);
    PLACE(v4l2_buffer, request_fd);
    NUMBER(VIDIOC_QUERYCAP);
    NUMBER(VIDIOC_ENUM_FMT);
    NUMBER(VIDIOC_S_FMT);
    NUMBER(VIDIOC_S_PARM);
    NUMBER(VIDIOC_REQBUFS);
    NUMBER(VIDIOC_QUERYBUF);
    NUMBER(VIDIOC_QBUF);
    NUMBER(VIDIOC_DQBUF);
    NUMBER(VIDIOC_STREAMON);
    NUMBER(V4L2_PIX_FMT_MJPEG);
    NUMBER(V4L2_PIX_FMT_YUYV);
    NUMBER(V4L2_PIX_FMT_JPEG);
}
